"""A comparison of trainings for people: a markdown table, and the curves as a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from convrec.utils.markdown import plain_table

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts import Store

CURVE = "validation_ndcg@20"
SHOWN = ("ndcg@20", "ndcg@5", "recall@20", "in_catalog", "exact_n", "repeats")
Curves = Mapping[str, Sequence[tuple[float, float]]]


def comparison_rows(metrics: pl.DataFrame, chosen: Mapping[str, float]) -> list[list[str]]:
    """One row a system: learning rate, metrics, and NDCG@20 less that of SFT with its interval."""
    versus: dict[tuple[str, str], str] = {}
    values: dict[str, dict[str, str]] = {}
    for row in metrics.iter_rows(named=True):
        if row["versus"] is None:
            values.setdefault(row["system"], {})[row["metric"]] = f"{row['value']:.3f}"
        elif row["metric"] == "ndcg@20":
            interval = f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
            versus[row["system"], row["versus"]] = interval
    first = next(iter(chosen))
    rows = []
    for system, found in values.items():
        rate = f"{chosen[system]:g}" if system in chosen else ""
        cells = [found.get(name, "") for name in SHOWN]
        beside = [versus.get((system, "sft"), ""), versus.get((first, system), "")]
        rows.append([system, rate, *cells, *beside])
    return rows


def heads(first: str) -> list[str]:
    """The names of the columns of `comparison_rows`."""
    return ["system", "learning rate", *SHOWN, "NDCG@20 over sft", f"{first} over it"]


def comparison_markdown(metrics: pl.DataFrame, chosen: Mapping[str, float]) -> str:
    """The table of a comparison, with what was chosen on validation."""
    first = next(iter(chosen))
    return plain_table(heads(first), comparison_rows(metrics, chosen))


def curves(store: Store, trained: Mapping[str, Sequence[str]]) -> Curves:
    """NDCG@20 on validation by step for each algorithm, the mean over its checkpoints' ids."""
    points: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for algorithm, checkpoints in trained.items():
        for artifact_id in checkpoints:
            frame = store.curves(artifact_id)
            for step, name, value in frame.select("step", "name", "value").iter_rows():
                if name == CURVE:
                    points[algorithm][step].append(value)
    return {
        algorithm: [(step, sum(values) / len(values)) for step, values in sorted(steps.items())]
        for algorithm, steps in points.items()
    }


_STYLE = """<style>
svg { background: #fff; font: 9px system-ui, sans-serif }
.grid { stroke: #ddd; stroke-width: .6 } .line { fill: none; stroke-width: 1.6 }
.c0 { stroke: #1a6fb5 } .c1 { stroke: #d1495b } .c2 { stroke: #2e8b57 }
.c3 { stroke: #8a5cb8 } .c4 { stroke: #c77d0a } .c5 { stroke: #5a6472 }
text.c0, text.c1, text.c2, text.c3, text.c4, text.c5 { stroke-width: .3; font-size: 9px }
</style>"""


def convergence(lines: Curves) -> str:
    """The curves of trainings by step."""
    return picture(lines, "step (validation NDCG@20)")


def picture(lines: Curves, across: str) -> str:
    """Lines as an SVG picture that needs nothing else, its legend inside."""
    from markupsafe import Markup

    from convrec.stages.evaluate.report.charts import line_chart

    colours = {name: position % 6 for position, name in enumerate(lines)}
    chart = str(line_chart(lines, across=across, colours=colours))
    legend = "".join(
        Markup('<text x="{}" y="{}" class="c{}">{}</text>').format(
            250, 130 + 10 * colour, colour, name
        )
        for name, colour in colours.items()
    )
    start, end = chart.index(">") + 1, chart.rindex("</svg>")
    opening = chart[:start].replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="720" height="440" '
    )
    return f"{opening}{_STYLE}{chart[start:end]}{legend}</svg>"
