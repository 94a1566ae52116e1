"""The rows of a `metrics` artifact as tables for the report, its markdown, and `compare`."""

from __future__ import annotations

from typing import Any

import polars as pl

from convrec.metrics.list_quality import QUALITY_METRICS
from convrec.metrics.registry import CATALOG_METRICS, ITEM_METRICS, RANKING_METRICS
from convrec.metrics.scored_lists import CUTOFFS
from convrec.stages.evaluate.metrics import PAIRS
from convrec.stages.evaluate.paired import PAIRED_METRICS
from convrec.stages.evaluate.systems import SYSTEMS

_LATER_SYSTEMS = ("free", "served")
"""Systems whose colors come after those of older reports."""

COLORS = {
    system: position
    for position, system in enumerate(sorted(SYSTEMS, key=_LATER_SYSTEMS.__contains__))
}
"""System → its color class in charts and tables."""

HEADLINE_METRIC = "ndcg@20"
"""The metric of charts and verdicts."""

Cell = dict[str, Any]
"""A row of `metrics`: value, low, high, n."""


def metric_tables(metrics: pl.DataFrame) -> dict[str, Any]:
    """Return the tables of a `metrics` artifact by name."""
    cells = _metric_cells(metrics, "standard")
    return {
        "systems": {s: cells[s, None] for s in SYSTEMS if (s, None) in cells},
        "protocols": {
            name: systems
            for name in ("reference", "per-label")
            if (systems := system_cells(metrics, name))
        },
        "pairs": {pair: cells[pair] for pair in PAIRS if pair in cells},
        "slices": _slice_cells(metrics),
        "ranking": ranking_columns(),
        "rates": QUALITY_METRICS,
        "spread": spread_columns(),
        "compared": PAIRED_METRICS,
        "colors": COLORS,
    }


def ranking_columns() -> tuple[str, ...]:
    """Return the ranking metrics that reports show, such as `recall@5`.

    Those that systems are compared by come first, so that a narrow screen shows NDCG.
    """
    shown = [
        f"{name}@{k}" for name, metric in RANKING_METRICS.items() for k in metric.report_cutoffs
    ]
    return tuple(sorted(shown, key=(*PAIRED_METRICS, *shown).index))


def spread_columns() -> tuple[str, ...]:
    """Return the metrics of how lists spread over the catalog."""
    return (*ITEM_METRICS, *CATALOG_METRICS)


def metric_headings(n: int | str) -> dict[str, str]:
    """Return metric → column heading, for metrics whose heading is not their name."""
    return {
        "in_catalog": "in catalog",
        "exact_n": f"exactly {n}",
        **{name: metric.label for name, metric in ITEM_METRICS.items()},
        **{name: metric.label for name, metric in CATALOG_METRICS.items()},
        **{
            f"{name}@{k}": f"{metric.label}@{k}"
            for name, metric in RANKING_METRICS.items()
            for k in CUTOFFS
        },
    }


def metric_decimals() -> dict[str, int]:
    """Return metric → decimals to show."""
    return {name: metric.decimals for name, metric in ITEM_METRICS.items()}


def system_cells(metrics: pl.DataFrame, protocol: str = "standard") -> dict[str, dict[str, Cell]]:
    """Return system → metric → its row on all test samples, without comparisons."""
    cells = _metric_cells(metrics, protocol)
    return {system: row for (system, versus), row in cells.items() if versus is None}


def _metric_cells(
    metrics: pl.DataFrame, protocol: str
) -> dict[tuple[str, str | None], dict[str, Cell]]:
    """Return (system, versus) → metric → its row on all test samples."""
    cells: dict[tuple[str, str | None], dict[str, Cell]] = {}
    rows = metrics.filter((metrics["protocol"] == protocol) & metrics["slice"].is_null())
    for row in rows.iter_rows(named=True):
        cells.setdefault((row["system"], row["versus"]), {})[row["metric"]] = row
    return cells


def _slice_cells(metrics: pl.DataFrame) -> dict[str, dict[str, dict[str, Cell]]]:
    cells: dict[str, dict[str, dict[str, Cell]]] = {}
    for row in metrics.filter(metrics["slice"].is_not_null()).iter_rows(named=True):
        of_slice = cells.setdefault(row["slice"], {})
        of_slice.setdefault(row["system"], {})[row["metric"]] = row
    return cells
