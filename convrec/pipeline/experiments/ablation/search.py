"""A grid search for the settings of Remap and Reflect on validation; it sends no request.

Three rounds, each starting from what the one before chose:

    remap     weight of S × λ
    reflect   γ × N_r
    length    N, the number of lines of a list

Every setting goes through the whole method: candidates, the ratings that exist, and an adjustment
fitted on part of the training split. NDCG@20 of the final lists on validation decides, because the
best setting for s_remap alone need not be the best for the final lists. A round's starting point is
kept unless the best setting beats it beyond noise (paired interval above 0), because another
setting costs new judgments.

A candidate without a rating keeps its s_remap. So set the chosen values, run again (only new pairs
are judged), and search again until the choice is stable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import polars as pl

from convrec.artifacts import StepResult
from convrec.config import Config
from convrec.errors import InputError
from convrec.pipeline.experiments.ablation.evaluation import ListEvaluator, ListTexts, build_lists
from convrec.stages.adjust import ADJUSTMENT
from convrec.stages.base import Step, StepContext
from convrec.stages.evaluate.metrics import score_settings
from convrec.stages.evaluate.samples import held_out_samples
from convrec.stages.remap import CANDIDATES

SIMILARITY_WEIGHTS = (0.1, 0.3, 0.5, 1.0)
CONVERSATION_WEIGHTS = (0.0, 0.1, 0.3, 1.0)
RATING_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
METRIC = ("ndcg@20",)
FIT_CONTEXTS = 1000
"""Training contexts, evenly spaced, on which the adjustment of a setting is fitted."""


class Setting(NamedTuple):
    """One point of the grid; ties prefer the smaller tuple."""

    similarity_weight: float
    conversation_weight: float
    weight: float
    top: int
    length: int


def _build(ctx: StepContext) -> StepResult:
    samples = held_out_samples(ctx.frame("conversations"), "validation")
    if not samples:
        raise InputError(
            "the validation split has no conversation with a ground truth, so no setting can be "
            "chosen on it; check ingest.path, or set the weights by hand"
        )
    search = _Search(ctx, ListEvaluator(ctx, samples))
    search.run_round("remap", search.remap_settings())
    if ctx.has("judgments"):
        search.run_round("reflect", search.reflect_settings())
    search.run_round("length", search.length_settings())
    rows = _rows_frame(search.rows)
    return StepResult(rows, {"settings tried": rows.height, **_figures(rows)})


def _rows_frame(rows: list[Any]) -> pl.DataFrame:
    setting: dict[str, Any] = dict.fromkeys(Setting._fields[:3], pl.Float64)
    setting |= dict.fromkeys(Setting._fields[3:], pl.Int32)
    value = dict.fromkeys(("value", "low", "high"), pl.Float64)
    flags = dict.fromkeys(("chosen", "best", "configured"), pl.Boolean)
    schema = {"round": pl.String, **setting, **value, **flags}
    return pl.DataFrame(rows, schema=schema, orient="row")


class _Search:
    """One search. `rows` are the settings tried so far; each round starts from the last choice."""

    def __init__(self, ctx: StepContext, evaluator: ListEvaluator) -> None:
        self.rows: list[Any] = []
        self._ctx, self._evaluator = ctx, evaluator
        config = ctx.config
        self._configured = Setting(
            config.remap.similarity_weight,
            config.remap.conversation_weight,
            config.reflect.weight if ctx.has("judgments") else 0.0,
            config.reflect.top,
            config.list_length,
        )
        self._chosen = self._configured
        self._conversations = _search_conversations(ctx.frame("conversations"))
        self._candidates: dict[tuple[float, float], pl.DataFrame] = {}
        self._texts: dict[Setting, ListTexts] = {}

    def run_round(self, name: str, settings: Iterator[Setting]) -> None:
        """Score all settings; choose the best one if it beats the last choice beyond noise."""
        values = {}
        for number, setting in enumerate(settings, start=1):
            self._ctx.progress(number, number, f"{name}: {number} settings tried")
            values[setting] = self._evaluator.values(self._lists(setting))
        intervals = {s: self._evaluator.intervals(v, METRIC)[0] for s, v in values.items()}
        best = min(intervals, key=lambda setting: (-round(intervals[setting].value, 9), setting))
        gain = {METRIC[0]: values[best][METRIC[0]] - values[self._chosen][METRIC[0]]}
        if self._evaluator.intervals(gain, METRIC)[0].low > 0:
            self._chosen = best
        for setting, interval in intervals.items():
            flags = setting == self._chosen, setting == best, setting == self._configured
            self.rows.append((name, *setting, *interval, *flags))

    def remap_settings(self) -> Iterator[Setting]:
        """Weights of S and of s_conv, including the configured ones."""
        configured = self._configured
        for similarity in sorted({*SIMILARITY_WEIGHTS, configured.similarity_weight}):
            for conversation in sorted({*CONVERSATION_WEIGHTS, configured.conversation_weight}):
                yield self._chosen._replace(
                    similarity_weight=similarity, conversation_weight=conversation
                )

    def reflect_settings(self) -> Iterator[Setting]:
        """γ and N_r, including the configured ones."""
        configured, n = self._configured, self._configured.length
        for weight in sorted({*RATING_WEIGHTS, configured.weight}):
            for top in sorted({n, (n + configured.top) // 2, configured.top}):
                yield self._chosen._replace(weight=weight, top=top)

    def length_settings(self) -> Iterator[Setting]:
        """The configured length and shorter ones."""
        n = self._configured.length
        for length in sorted({max(1, n // 4), max(1, n // 2), max(1, 3 * n // 4), n}):
            yield self._chosen._replace(length=length)

    def _lists(self, setting: Setting) -> ListTexts:
        full = setting._replace(length=self._configured.length)
        if full not in self._texts:
            self._texts[full] = self._build_lists(full)
        return {
            context: "\n".join(text.split("\n")[: setting.length])
            for context, text in self._texts[full].items()
        }

    def _build_lists(self, setting: Setting) -> ListTexts:
        candidates = self._candidates_of(setting)
        frames = {"candidates": candidates, "conversations": self._conversations}
        if setting.weight and self._ctx.has("judgments"):
            frames["judgments"] = self._judgments_of(setting)
        if self._ctx.config.adjust.enabled:
            parents = {**self._ctx.frames, **frames}
            if "judgments" not in frames:
                parents.pop("judgments", None)
            catalog = {r: ref for r, ref in self._ctx.parents.items() if r == "catalog"}
            ctx = StepContext(self._ctx.config, self._ctx.store, catalog, frames=parents)
            frames["adjustment"] = ADJUSTMENT.build(ctx).rows
        return build_lists(self._ctx, (), frames)

    def _candidates_of(self, setting: Setting) -> pl.DataFrame:
        weights = setting.similarity_weight, setting.conversation_weight
        if weights not in self._candidates:
            remap = self._ctx.config.remap.model_copy(
                update={"similarity_weight": weights[0], "conversation_weight": weights[1]}
            )
            config = self._ctx.config.model_copy(update={"remap": remap})
            lists = self._ctx.frame("teacher_lists").join(
                self._conversations, on="context_id", how="semi", maintain_order="left"
            )
            frames = {
                **self._ctx.frames,
                "conversations": self._conversations,
                "teacher_lists": lists,
            }
            ctx = StepContext(config, self._ctx.store, self._ctx.parents, frames=frames)
            self._candidates[weights] = CANDIDATES.build(ctx).rows
        return self._candidates[weights]

    def _judgments_of(self, setting: Setting) -> pl.DataFrame:
        """The existing ratings of the first N_r candidates, at another γ."""
        unit = setting.weight / self._ctx.config.reflect.scale
        first = self._candidates_of(setting).filter(pl.col("rank") <= setting.top)
        ratings = self._ctx.frame("judgments").select("context_id", "item_id", "rating")
        return (
            first.select("context_id", "item_id", remapped="score")
            .join(ratings, on=["context_id", "item_id"], how="inner", maintain_order="left")
            .select(
                "context_id",
                "item_id",
                "rating",
                score=pl.col("remapped") + unit * pl.col("rating").fill_null(0.0),
            )
        )


def _search_conversations(conversations: pl.DataFrame) -> pl.DataFrame:
    """The validation split, and the samples of at most FIT_CONTEXTS training contexts."""
    train = conversations.filter(pl.col("split") == "train")
    contexts = train.select("context_id").unique(maintain_order=True)
    step = -(-contexts.height // FIT_CONTEXTS) or 1
    chosen = contexts.gather_every(step)
    part = train.join(chosen, on="context_id", how="semi", maintain_order="left")
    return pl.concat([part, conversations.filter(pl.col("split") == "validation")])


def _figures(frame: pl.DataFrame) -> dict[str, Any]:
    """The chosen and the best setting of each round, and their NDCG@20."""
    figures: dict[str, Any] = {}
    for (name,), rows in frame.group_by("round", maintain_order=True):
        for flag in ("chosen", "best"):
            row = rows.filter(flag).row(0, named=True)
            figures[f"{name}: {flag}"] = _command_options(str(name), row)
            figures[f"{name}: ndcg@20 {flag}"] = round(row["value"], 4)
    return figures


_CONFIG_KEYS = {
    "remap": {
        "similarity_weight": "remap.similarity_weight",
        "conversation_weight": "remap.conversation_weight",
    },
    "reflect": {"weight": "reflect.weight", "top": "reflect.top"},
    "length": {"length": "list_length"},
}


def _command_options(name: str, row: dict[str, Any]) -> str:
    keys = _CONFIG_KEYS[name].items()
    return " ".join(f"--set {key}={row[column]:g}" for column, key in keys)


def _config(config: Config) -> dict[str, Any]:
    return {
        **score_settings(config),
        "remap": config.remap.identity_settings(),
        "reflect": {
            "top": config.reflect.top,
            "scale": config.reflect.scale,
            "weight": config.reflect.weight,
        },
        "adjust": config.adjust.identity_settings(),
    }


SEARCH = Step(stage="evaluate", kind="search", version=1, build=_build, config=_config)
