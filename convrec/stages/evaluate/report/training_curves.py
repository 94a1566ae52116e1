"""The training curves of the report: the important ones first, the others collapsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from convrec.metrics.scored_lists import WIDTH
from convrec.stages.base import StepContext
from convrec.stages.evaluate.report.charts import Band, Point, line_chart
from convrec.training.tracking.run import read_locations

FIRST_CURVES = (
    "reward",
    *(f"validation_ndcg@{k}" for k in range(1, WIDTH + 1)),
    *("validation_loss", "loss", "kl", "repeats"),
)
"""Curves that are always visible, if the training recorded them."""

LOW, HIGH = "_low", "_high"
"""Suffixes of the curves that are the ends of another curve's interval."""


class CurveCharts(NamedTuple):
    """Name → chart: the visible ones and the collapsed ones; and tracker → URL or command."""

    first: dict[str, Markup]
    others: dict[str, Markup]
    tracking: dict[str, str]


def training_curves(ctx: StepContext, colors: Mapping[str, int]) -> dict[str, CurveCharts]:
    """Return stage → its charts, for each checkpoint with curves, but not those of single ranks."""
    charts = {}
    for stage in ("sft", "rank_grpo"):
        ref = ctx.parents.get(f"checkpoint_{stage}")
        if ref is None:
            continue
        curves: dict[str, list[Point]] = {}
        for step, name, value in ctx.store.curves(ref.artifact_id).iter_rows():
            if "@rank" not in name:
                curves.setdefault(name, []).append((step, value))
        others = {
            name: _chart(name, curves, colors[stage])
            for name in curves
            if not _is_interval_end(name, curves)
        }
        if others:
            first = {name: others.pop(name) for name in FIRST_CURVES if name in others}
            figures = ctx.store.header(ref.artifact_id).figures
            charts[stage] = CurveCharts(first, others, read_locations(figures))
    return charts


def _is_interval_end(name: str, curves: Mapping[str, Sequence[Point]]) -> bool:
    return any(name.endswith(end) and name.removesuffix(end) in curves for end in (LOW, HIGH))


def _chart(name: str, curves: Mapping[str, Sequence[Point]], color: int) -> Markup:
    bands: dict[str, Band] = {}
    if name + LOW in curves and name + HIGH in curves:
        low, high = dict(curves[name + LOW]), dict(curves[name + HIGH])
        bands[name] = [(x, low[x], high[x]) for x, _ in curves[name] if x in low and x in high]
    return line_chart({name: curves[name]}, x_label="step", colors={name: color}, bands=bands)
