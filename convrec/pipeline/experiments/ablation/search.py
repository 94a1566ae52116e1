"""A small search for the settings of remap and reflect, on validation alone; it asks nobody.

One round after the other, each with what the last one chose:

    remap     weight of S × λ
    reflect   γ × N_r
    length    N, how many lines a list has

Each setting goes the whole way: candidates, the ratings at hand, and the adjustment fitted anew on
a part of the training split. NDCG@20 of the final lists on validation decides, because what is best
for s_remap alone need not be best for what the student is shown. What a round starts with stays
unless the best setting beats it beyond noise (paired interval above 0): another setting costs new
judgments. A candidate that the configured run did not have rated counts with its s_remap, so set
what was chosen, run again (only new pairs are judged), and search again until it stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from convrec.artifacts import StepResult
from convrec.errors import InputError
from convrec.pipeline.experiments.ablation.evaluation import ListEvaluator, Texts, demonstrations
from convrec.stages.adjust import ADJUSTMENT
from convrec.stages.base import Step, StepContext
from convrec.stages.evaluate.samples import held_out
from convrec.stages.remap import CANDIDATES

if TYPE_CHECKING:
    import polars as pl

    from convrec.config import Config

SIMILARITY_WEIGHTS = (0.1, 0.3, 0.5, 1.0)
CONVERSATION_WEIGHTS = (0.0, 0.1, 0.3, 1.0)
RATING_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
METRIC = ("ndcg@20",)
FITTED_ON = 1000
"""Training contexts, evenly spread, from which the adjustment of a setting is learned."""


class Setting(NamedTuple):
    """One point of the grid, in the order of size."""

    similarity_weight: float
    conversation_weight: float
    weight: float
    top: int
    length: int


def _build(ctx: StepContext) -> StepResult:
    samples = held_out(ctx.frame("conversations"), "validation")
    if not samples:
        raise InputError(
            "the validation split has no conversation with a ground truth, so nothing can be "
            "chosen on it; look at ingest.path, or set the weights by hand"
        )
    search = _Search(ctx, ListEvaluator(ctx, samples))
    search.run("remap", search.remaps())
    if ctx.has("judgments"):
        search.run("reflect", search.reflects())
    search.run("length", search.lengths())
    rows = _frame(search.rows)
    return StepResult(rows, {"settings tried": rows.height, **_figures(rows)})


def _frame(rows: list[Any]) -> pl.DataFrame:
    import polars as pl

    setting: dict[str, Any] = dict.fromkeys(Setting._fields[:3], pl.Float64)
    setting |= dict.fromkeys(Setting._fields[3:], pl.Int32)
    value = dict.fromkeys(("value", "low", "high"), pl.Float64)
    flags = dict.fromkeys(("chosen", "best", "configured"), pl.Boolean)
    schema = {"round": pl.String, **setting, **value, **flags}
    return pl.DataFrame(rows, schema=schema, orient="row")


class _Search:
    """One search; `rows` are what it tried, `best` is what each round leaves for the next."""

    def __init__(self, ctx: StepContext, jury: ListEvaluator) -> None:
        self.rows: list[Any] = []
        self._job, self._jury = ctx, jury
        config = ctx.config
        self._own = Setting(
            config.remap.similarity_weight,
            config.remap.conversation_weight,
            config.reflect.weight if ctx.has("judgments") else 0.0,
            config.reflect.top,
            config.list_length,
        )
        self._best = self._own
        self._talks = _talks(ctx.frame("conversations"))
        self._candidates: dict[tuple[float, float], pl.DataFrame] = {}
        self._texts: dict[Setting, Texts] = {}

    def run(self, name: str, settings: Iterator[Setting]) -> Setting:
        """Try all settings of a round; the best replaces what is there if that is beyond noise."""
        found = {}
        for number, setting in enumerate(settings, start=1):
            self._job.progress(number, number, f"{name}: {number} settings tried")
            found[setting] = self._jury.values(self._lists(setting))
        values = {setting: self._jury.intervals(v, METRIC)[0] for setting, v in found.items()}
        best = min(values, key=lambda setting: (-round(values[setting].value, 9), setting))
        gain = {METRIC[0]: found[best][METRIC[0]] - found[self._best][METRIC[0]]}
        if self._jury.intervals(gain, METRIC)[0].low > 0:
            self._best = best
        for setting, interval in values.items():
            flags = setting == self._best, setting == best, setting == self._own
            self.rows.append((name, *setting, *interval, *flags))
        return self._best

    def remaps(self) -> Iterator[Setting]:
        """Weights of S and of the conversation, those configured among them."""
        own = self._own
        for similar in sorted({*SIMILARITY_WEIGHTS, own.similarity_weight}):
            for talk in sorted({*CONVERSATION_WEIGHTS, own.conversation_weight}):
                yield self._best._replace(similarity_weight=similar, conversation_weight=talk)

    def reflects(self) -> Iterator[Setting]:
        """γ and N_r, those configured among them."""
        own, n = self._own, self._own.length
        for weight in sorted({*RATING_WEIGHTS, own.weight}):
            for top in sorted({n, (n + own.top) // 2, own.top}):
                yield self._best._replace(weight=weight, top=top)

    def lengths(self) -> Iterator[Setting]:
        """Shorter lists than configured, and as long."""
        n = self._own.length
        for length in sorted({max(1, n // 4), max(1, n // 2), max(1, 3 * n // 4), n}):
            yield self._best._replace(length=length)

    def _lists(self, setting: Setting) -> Texts:
        whole = setting._replace(length=self._own.length)
        if whole not in self._texts:
            self._texts[whole] = self._made(whole)
        return {
            owner: "\n".join(text.split("\n")[: setting.length])
            for owner, text in self._texts[whole].items()
        }

    def _made(self, setting: Setting) -> Texts:
        """The final lists of a setting."""
        frames = {"candidates": self._scored(setting), "conversations": self._talks}
        if setting.weight and self._job.has("judgments"):
            frames["judgments"] = self._judged(setting)
        if self._job.config.adjust.enabled:
            given = {**self._job.frames, **frames}
            if "judgments" not in frames:
                given.pop("judgments", None)
            catalog = {r: ref for r, ref in self._job.parents.items() if r == "catalog"}
            ctx = StepContext(self._job.config, self._job.store, catalog, frames=given)
            frames["adjustment"] = ADJUSTMENT.build(ctx).rows
        return demonstrations(self._job, (), frames)

    def _scored(self, setting: Setting) -> pl.DataFrame:
        weights = setting.similarity_weight, setting.conversation_weight
        if weights not in self._candidates:
            remap = self._job.config.remap.model_copy(
                update={"similarity_weight": weights[0], "conversation_weight": weights[1]}
            )
            config = self._job.config.model_copy(update={"remap": remap})
            lists = self._job.frame("teacher_lists")
            lists = lists.join(self._talks, on="context_id", how="semi", maintain_order="left")
            frames = {**self._job.frames, "conversations": self._talks, "teacher_lists": lists}
            ctx = StepContext(config, self._job.store, self._job.parents, frames=frames)
            self._candidates[weights] = CANDIDATES.build(ctx).rows
        return self._candidates[weights]

    def _judged(self, setting: Setting) -> pl.DataFrame:
        """The ratings of the first N_r candidates at another γ."""
        import polars as pl

        unit = setting.weight / self._job.config.reflect.scale
        first = self._scored(setting).filter(pl.col("rank") <= setting.top)
        ratings = self._job.frame("judgments").select("context_id", "item_id", "rating")
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


def _talks(conversations: pl.DataFrame) -> pl.DataFrame:
    """The validation split, and the samples of at most FITTED_ON training contexts."""
    import polars as pl

    train = conversations.filter(pl.col("split") == "train")
    owners = train.select("context_id").unique(maintain_order=True)
    step = -(-owners.height // FITTED_ON) or 1
    part = train.join(owners.gather_every(step), on="context_id", how="semi", maintain_order="left")
    return pl.concat([part, conversations.filter(pl.col("split") == "validation")])


def _figures(frame: pl.DataFrame) -> dict[str, Any]:
    """What was chosen in each round and what it gives, beside the best."""
    figures: dict[str, Any] = {}
    for (name,), rows in frame.group_by("round", maintain_order=True):
        for which in ("chosen", "best"):
            row = rows.filter(which).row(0, named=True)
            figures[f"{name}: {which}"] = _words(str(name), row)
            figures[f"{name}: ndcg@20 {which}"] = round(row["value"], 4)
    return figures


_NAMES = {
    "remap": {
        "similarity_weight": "remap.similarity_weight",
        "conversation_weight": "remap.conversation_weight",
    },
    "reflect": {"weight": "reflect.weight", "top": "reflect.top"},
    "length": {"length": "list_length"},
}


def _words(name: str, row: dict[str, Any]) -> str:
    """A chosen setting as options of the command line."""
    return " ".join(f"--set {key}={row[column]:g}" for column, key in _NAMES[name].items())


def _config(config: Config) -> dict[str, Any]:
    return {
        "list_length": config.list_length,
        "bootstrap": config.evaluate.bootstrap,
        "seed": config.seed,
        "remap": config.remap.model_dump(mode="json"),
        "reflect": {
            "top": config.reflect.top,
            "scale": config.reflect.scale,
            "weight": config.reflect.weight,
        },
        "adjust": config.adjust.model_dump(mode="json"),
        **config.line_format.key,
    }


SEARCH = Step(stage="evaluate", kind="search", version=1, build=_build, config=_config)
