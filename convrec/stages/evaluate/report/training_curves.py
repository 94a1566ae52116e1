"""The training curves of the report: those that matter first, all others folded away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from convrec.stages.evaluate.report.charts import Band, line_chart

if TYPE_CHECKING:
    from markupsafe import Markup

    from convrec.stages.base import StepContext

FIRST = ("reward", "validation_ndcg@20", "validation_loss", "loss", "kl", "repeats")
"""Names of the curves that are shown at once, where there are any."""

LOW, HIGH = "_low", "_high"
"""Names that end so are the ends of an interval of the curve without the ending."""

Points = Sequence[tuple[float, float]]


class Curves(NamedTuple):
    """Name → chart: those shown at once, and the others."""

    first: dict[str, Markup]
    others: dict[str, Markup]


def curves(ctx: StepContext, colours: Mapping[str, int]) -> dict[str, Curves]:
    """Stage → its charts, for each checkpoint that recorded any.

    Curves by rank are left out: one chart for each would bury the others.
    """
    charts = {}
    for stage in ("sft", "rank_grpo"):
        ref = ctx.parents.get(f"checkpoint_{stage}")
        if ref is None:
            continue
        lines: dict[str, list[tuple[float, float]]] = {}
        for step, name, value in ctx.store.curves(ref.artifact_id).iter_rows():
            if "@rank" not in name:
                lines.setdefault(name, []).append((step, value))
        drawn = {
            name: _chart(name, lines, colours[stage]) for name in lines if not _is_end(name, lines)
        }
        if drawn:
            first = {name: drawn.pop(name) for name in FIRST if name in drawn}
            charts[stage] = Curves(first, drawn)
    return charts


def _is_end(name: str, lines: Mapping[str, Points]) -> bool:
    return any(name.endswith(end) and name.removesuffix(end) in lines for end in (LOW, HIGH))


def _chart(name: str, lines: Mapping[str, Points], colour: int) -> Markup:
    bands: dict[str, Band] = {}
    if name + LOW in lines and name + HIGH in lines:
        low, high = dict(lines[name + LOW]), dict(lines[name + HIGH])
        bands[name] = [(x, low[x], high[x]) for x, _ in lines[name] if x in low and x in high]
    return line_chart({name: lines[name]}, across="step", colours={name: colour}, bands=bands)
