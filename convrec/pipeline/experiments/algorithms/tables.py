"""The comparison of training runs as a markdown table, and its learning curves as an SVG."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from convrec.artifacts import Store
from convrec.pipeline.experiments.svg import STYLE, legend
from convrec.stages.evaluate.report.charts import line_chart
from convrec.stages.evaluate.report.markdown import estimate_text
from convrec.utils.markdown import markdown_table

CURVE_METRIC = re.compile(r"validation_ndcg@\d+")
TABLE_METRICS = ("ndcg@20", "ndcg@5", "recall@20", "in_catalog", "exact_n", "repeats")
Curves = Mapping[str, Sequence[tuple[float, float]]]
"""Name → points (x, y)."""


def comparison_rows(metrics: pl.DataFrame, learning_rates: Mapping[str, float]) -> list[list[str]]:
    """One row a system: learning rate, metrics, and its differences in NDCG@20 with intervals.

    `learning_rates` has the chosen rate of each algorithm, the compared one first.
    """
    differences: dict[tuple[str, str], str] = {}
    values: dict[str, dict[str, str]] = {}
    for row in metrics.iter_rows(named=True):
        if row["versus"] is None:
            values.setdefault(row["system"], {})[row["metric"]] = f"{row['value']:.3f}"
        elif row["metric"] == "ndcg@20":
            differences[row["system"], row["versus"]] = estimate_text(row, "+.3f")
    first = next(iter(learning_rates))
    rows = []
    for system, by_metric in values.items():
        rate = f"{learning_rates[system]:g}" if system in learning_rates else ""
        cells = [by_metric.get(name, "") for name in TABLE_METRICS]
        pairs = ((system, "sft"), (first, system))
        rows.append([system, rate, *cells, *(differences.get(pair, "") for pair in pairs)])
    return rows


def column_headers(first: str) -> list[str]:
    """The column headers of `comparison_rows`."""
    return ["system", "learning rate", *TABLE_METRICS, "NDCG@20 over sft", f"{first} over it"]


def comparison_markdown(metrics: pl.DataFrame, learning_rates: Mapping[str, float]) -> str:
    """Format `comparison_rows` as a markdown table."""
    headers = column_headers(next(iter(learning_rates)))
    return markdown_table(headers, comparison_rows(metrics, learning_rates))


def comparison_json(metrics: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of a comparison as JSON, without metrics of single ranks.

    Values have an interval from `low` to `high`, over `n` samples; those with `versus` are
    differences.
    """
    columns = ("system", "versus", "metric", "value", "low", "high", "n")
    return metrics.filter(~metrics["metric"].str.contains("@rank")).select(columns).to_dicts()


def validation_curves(store: Store, checkpoints: Mapping[str, Sequence[str]]) -> Curves:
    """Read NDCG on validation by step, averaged over the checkpoint ids of each algorithm."""
    points: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for algorithm, artifact_ids in checkpoints.items():
        for artifact_id in artifact_ids:
            frame = store.curves(artifact_id)
            for step, name, value in frame.select("step", "name", "value").iter_rows():
                if CURVE_METRIC.fullmatch(name):
                    points[algorithm][step].append(value)
    return {
        algorithm: [(step, sum(values) / len(values)) for step, values in sorted(steps.items())]
        for algorithm, steps in points.items()
    }


def convergence_svg(curves: Curves) -> str:
    """Draw the learning curves of training runs."""
    return lines_svg(curves, "step (validation NDCG)")


def lines_svg(curves: Curves, x_label: str) -> str:
    """Draw curves as a self-contained SVG with a legend."""
    colors = {name: position % 6 for position, name in enumerate(curves)}
    chart = str(line_chart(curves, x_label=x_label, colors=colors))
    start, end = chart.index(">") + 1, chart.rindex("</svg>")
    opening = chart[:start].replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="720" height="440" '
    )
    return f"{opening}{STYLE}{chart[start:end]}{legend(colors, 250, 130)}</svg>"
