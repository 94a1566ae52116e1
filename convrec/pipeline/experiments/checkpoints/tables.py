"""The comparison of checkpoints as markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from convrec.stages.evaluate.held_out_facts import held_out_json, reachable_text, units_text
from convrec.stages.evaluate.report.markdown import estimate_text
from convrec.stages.evaluate.strata import PROPERTY
from convrec.utils.markdown import markdown_table

_SHARES = ("in_catalog", "exact_n", "repeats", "head_share", "catalog_coverage")

Rows = Mapping[tuple[str, str | None, str | None, str], dict[str, Any]]
"""(system, versus, slice, metric) → its row of the `metrics` artifact."""


def scores_markdown(metrics: pl.DataFrame, figures: Mapping[str, Any]) -> str:
    """Format tables of systems, paired differences and strata; `figures` of the artifact."""
    rows = _rows(metrics)
    systems = list(dict.fromkeys(metrics["system"]))
    ndcg, recall = _compared(metrics)
    versus = list(dict.fromkeys(metrics["versus"].drop_nulls()))
    test_set = held_out_json(figures, systems)
    facts = " ".join(filter(None, (units_text(test_set), reachable_text(test_set))))
    seeds = "A row without a seed is the mean over seeds, sample by sample."
    parts = [
        f"{facts} {seeds}".strip(),
        _systems_table(rows, systems, (ndcg, recall)),
        *(_differences_table(rows, systems, versus, metric) for metric in (ndcg, recall)),
        *_strata_tables(rows, metrics, systems, versus, ndcg),
    ]
    return "\n\n".join(part for part in parts if part)


def scores_json(metrics: pl.DataFrame, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of the test set and all rows: systems, differences and strata."""
    columns = ("system", "versus", "slice", "metric", "value", "low", "high", "n")
    systems = list(dict.fromkeys(metrics["system"]))
    return {
        "test_set": held_out_json(figures, systems),
        "rows": metrics.select(columns).to_dicts(),
    }


def _rows(metrics: pl.DataFrame) -> Rows:
    return {
        (row["system"], row["versus"], row["slice"], row["metric"]): row
        for row in metrics.iter_rows(named=True)
    }


def _compared(metrics: pl.DataFrame) -> list[str]:
    """The metrics that systems are compared by."""
    names = metrics["metric"]
    return [next(x for x in names if x.startswith(f"{metric}@")) for metric in ("ndcg", "recall")]


def _systems_table(rows: Rows, systems: Sequence[str], ranking: Sequence[str]) -> str:
    lines: list[list[object]] = []
    for system in systems:
        cells = [estimate_text(rows.get((system, None, None, metric))) for metric in ranking]
        shares = [_share(rows.get((system, None, None, metric))) for metric in _SHARES]
        lines.append([system, *cells, *shares, rows[system, None, None, ranking[0]]["n"]])
    return markdown_table(["system", *ranking, *_SHARES, "samples"], lines)


def _share(row: Mapping[str, Any] | None) -> str:
    return "-" if row is None else f"{row['value']:.1%}"


def _differences_table(
    rows: Rows, systems: Sequence[str], versus: Sequence[str], metric: str, part: str | None = None
) -> str:
    """A row a system, a column a system to compare with; empty without a difference."""
    lines: list[list[object]] = []
    for system in systems:
        cells = [estimate_text(rows.get((system, b, part, metric)), "+.4f") for b in versus]
        if any(cell != "-" for cell in cells):
            lines.append([system, *cells])
    if not lines:
        return ""
    heading = f"Paired difference in {metric}"
    where = f", {part}" if part else ""
    table = markdown_table(["system", *(f"− {b}" for b in versus)], lines)
    return f"{heading}{where}, with its 95% interval:\n\n{table}"


def _strata_tables(
    rows: Rows, metrics: pl.DataFrame, systems: Sequence[str], versus: Sequence[str], metric: str
) -> list[str]:
    """The metric in each stratum, and the differences in each; nothing without strata."""
    strata = list(dict.fromkeys(metrics["slice"].drop_nulls()))
    if not strata:
        return []
    lines = [
        [system, *(estimate_text(rows.get((system, None, part, metric))) for part in strata)]
        for system in systems
    ]
    largest = {
        part: max(row["n"] for (_, _, of, _), row in rows.items() if of == part) for part in strata
    }
    headers = [f"{part.removeprefix(f'{PROPERTY}: ')} ({largest[part]})" for part in strata]
    title = f"{metric} by how often training answers name the wanted item (samples):"
    return [
        f"{title}\n\n{markdown_table(['system', *headers], lines)}",
        *(_differences_table(rows, systems, versus, metric, part) for part in strata),
    ]
