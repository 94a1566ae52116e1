"""A search for the settings of Remap and Reflect on validation, and how much they matter.

It sends no request. Three rounds, each starting from what the one before chose:

    remap     weight of S × λ
    reflect   γ × N_r
    length    N, the number of lines of a list

S, λ and γ are tried at MULTIPLES of the profile's values, N_r and N up to it: more would need new
judgments. NDCG@20 of the final lists on validation decides, because the best setting for s_remap
alone need not be the best for the final lists. A round's starting point is kept unless the best
setting beats it beyond noise (paired interval above 0), because another setting costs new
judgments.

Then each setting is varied alone, with the others as in the profile, and the lists are scored on
validation and on test, which chose nothing (rounds VARIED). There, `low` and `high` are the ends of
the paired difference to the profile's lists, added to these lists' value. The chosen setting is
among them.

A candidate without a rating keeps its s_remap. So set the chosen values, run again (only new pairs
are judged), and search again until the choice is stable.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from convrec.artifacts import StepResult
from convrec.config import Config
from convrec.errors import InputError
from convrec.pipeline.experiments.ablation.evaluation import ListEvaluator
from convrec.pipeline.experiments.ablation.settings import HeldOut, Setting, SettingLists
from convrec.stages.base import Step, StepContext
from convrec.stages.catalog_titles import alias_inputs, read_conversations
from convrec.stages.evaluate.metrics import score_settings
from convrec.stages.evaluate.samples import held_out_samples

MULTIPLES = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Multiples of the profile's weight of S, λ and γ."""

INSTEAD_OF_ZERO = (0.0, 0.1, 0.3, 1.0)
"""Values where the profile has 0."""

METRIC = ("ndcg@20",)
VARIED: dict[HeldOut, str] = {"validation": "varied, validation", "test": "varied, test"}
"""Split → the round in which settings are varied one at a time."""


def _build(ctx: StepContext) -> StepResult:
    conversations = read_conversations(ctx)
    samples = held_out_samples(conversations, "validation")
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
    tried = len(search.rows)
    search.vary("validation", search.evaluator)
    if test := held_out_samples(conversations, "test"):
        search.vary("test", ListEvaluator(ctx, test))
    rows = _rows_frame(search.rows)
    return StepResult(rows, {"settings tried": tried, **_figures(rows)})


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
        self.evaluator = evaluator
        self._ctx = ctx
        self._lists = SettingLists(ctx)
        self._chosen = self._configured = self._lists.configured

    def run_round(self, name: str, settings: Iterable[Setting]) -> None:
        """Score all settings; choose the best one if it beats the last choice beyond noise."""
        values = {}
        for number, setting in enumerate(settings, start=1):
            self._ctx.progress(number, number, f"{name}: {number} settings tried")
            values[setting] = self.evaluator.values(self._lists.texts(setting))
        intervals = {s: self.evaluator.intervals(v, METRIC)[0] for s, v in values.items()}
        best = min(intervals, key=lambda setting: (-round(intervals[setting].value, 9), setting))
        gain = {METRIC[0]: values[best][METRIC[0]] - values[self._chosen][METRIC[0]]}
        if self.evaluator.intervals(gain, METRIC)[0].low > 0:
            self._chosen = best
        for setting, interval in intervals.items():
            flags = setting == self._chosen, setting == best, setting == self._configured
            self.rows.append((name, *setting, *interval, *flags))

    def vary(self, split: HeldOut, evaluator: ListEvaluator) -> None:
        """Score the settings that differ from the profile's in one place, and the chosen one."""
        base = evaluator.values(self._lists.texts(self._configured, split))[METRIC[0]]
        settings = dict.fromkeys([self._configured, *self._one_changed(), self._chosen])
        for number, setting in enumerate(settings, start=1):
            self._ctx.progress(number, len(settings), f"{split}: settings varied")
            values = evaluator.values(self._lists.texts(setting, split))[METRIC[0]]
            _, low, high = evaluator.intervals({METRIC[0]: values - base}, METRIC)[0]
            numbers = float(values.mean()), float(base.mean()) + low, float(base.mean()) + high
            flags = setting == self._chosen, False, setting == self._configured
            self.rows.append((VARIED[split], *setting, *numbers, *flags))

    def remap_settings(self) -> Iterable[Setting]:
        """Weights of S and of s_conv, including the configured ones."""
        for similarity in around(self._configured.similarity_weight):
            for conversation in around(self._configured.conversation_weight):
                yield self._chosen._replace(
                    similarity_weight=similarity, conversation_weight=conversation
                )

    def reflect_settings(self) -> Iterable[Setting]:
        """γ and N_r, including the configured ones."""
        for weight in around(self._configured.weight):
            for top in self._tops():
                yield self._chosen._replace(weight=weight, top=top)

    def length_settings(self) -> Iterable[Setting]:
        """The configured length and shorter ones."""
        n = self._configured.length
        for length in sorted({max(1, n // 4), max(1, n // 2), max(1, 3 * n // 4), n}):
            yield self._chosen._replace(length=length)

    def _tops(self) -> list[int]:
        """N_r from N to the configured value, in thirds."""
        n, top = self._configured.length, self._configured.top
        return sorted({n + third * (top - n) // 3 for third in range(4)})

    def _one_changed(self) -> Iterable[Setting]:
        configured = self._configured
        for similarity in around(configured.similarity_weight):
            yield configured._replace(similarity_weight=similarity)
        for conversation in around(configured.conversation_weight):
            yield configured._replace(conversation_weight=conversation)
        if self._ctx.has("judgments"):
            for weight in around(configured.weight):
                yield configured._replace(weight=weight)
            for top in self._tops():
                yield configured._replace(top=top)


def around(value: float) -> list[float]:
    """The values tried for one that the profile sets, itself among them."""
    if not value:
        return list(INSTEAD_OF_ZERO)
    return sorted({value} | {round(value * multiple, 6) for multiple in MULTIPLES if multiple != 1})


def _figures(frame: pl.DataFrame) -> dict[str, Any]:
    """The chosen and the best setting of each round, their NDCG@20, and those on test."""
    figures: dict[str, Any] = {}
    for name in _CONFIG_KEYS:
        for flag in ("chosen", "best"):
            for row in frame.filter((pl.col("round") == name) & pl.col(flag)).to_dicts():
                figures[f"{name}: {flag}"] = _command_options(name, row)
                figures[f"{name}: ndcg@20 {flag}"] = round(row["value"], 4)
    for flag in ("configured", "chosen"):
        for row in frame.filter((pl.col("round") == VARIED["test"]) & pl.col(flag)).to_dicts():
            figures[f"test: ndcg@20 {flag}"] = round(row["value"], 4)
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


SEARCH = Step(
    stage="evaluate",
    kind="search",
    version=2,
    build=_build,
    config=_config,
    inputs=alias_inputs,
)
