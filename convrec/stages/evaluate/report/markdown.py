"""The report's tables as markdown, for Prefect and for model cards.

All names and values come from convrec itself, so nothing is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import polars as pl

from convrec.stages.evaluate.held_out_facts import held_out_json, reachable_text, units_text
from convrec.stages.evaluate.report.tables import metric_tables, ranking_columns
from convrec.utils.markdown import markdown_table

MAX_COLUMNS = 5
"""Interval columns that fit on Prefect's artifact page."""

Column = TypeVar("Column")


def evaluation_markdown(metrics: pl.DataFrame, figures: Mapping[str, Any] = {}) -> str:
    """Return tables of systems, paired differences, slices, and catalog spread.

    `figures` are those of the `metrics` artifact.
    """
    tables = metric_tables(metrics)
    systems = tables["systems"]
    parts = ["## Systems, protocol standard", systems_markdown(systems, tables["rates"])]
    test_set = held_out_json(figures, systems)
    if facts := " ".join(filter(None, (units_text(test_set), reachable_text(test_set)))):
        parts.append(facts)
    if tables["pairs"]:
        parts += ["## Differences on the same samples", _pairs_table(tables["pairs"])]
    if tables["slices"]:
        parts += [
            "## NDCG@20 on slices of the test set (number of samples)",
            _slice_tables(tables["slices"], systems),
        ]
    parts += ["## Popularity and coverage", _systems_tables(systems, tables["spread"])]
    return "\n\n".join(parts)


def systems_markdown(systems: Mapping[str, Mapping[str, Any]], rates: tuple[str, ...]) -> str:
    """Return tables of ranking metrics with intervals and one of rates, a row for each system."""
    rows = [
        [system, *(_percentage(row.get(name)) for name in rates)] for system, row in systems.items()
    ]
    rates_table = markdown_table(["system", *rates], rows)
    return f"{_systems_tables(systems, ranking_columns())}\n\n{rates_table}"


def _systems_tables(systems: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> str:
    tables = []
    for columns in _column_groups(names):
        rows = [
            [system, *(estimate_text(row.get(name)) for name in columns)]
            for system, row in systems.items()
        ]
        tables.append(markdown_table(["system", *columns], rows))
    return "\n\n".join(tables)


def _pairs_table(pairs: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    rows = []
    for (a, b), row in pairs.items():
        outcomes = [f"{row[f'{name} ndcg@20']['value']:.0%}" for name in ("wins", "ties", "losses")]
        detectable = f"{row['detectable ndcg@20']['value']:.3f}"
        rows.append([f"{a} - {b}", estimate_text(row["ndcg@20"], "+.3f"), *outcomes, detectable])
    return markdown_table(["a - b", "NDCG@20", "wins", "ties", "losses", "detectable"], rows)


def _slice_tables(slices: Mapping[str, Mapping[str, Any]], systems: Mapping[str, Any]) -> str:
    """Return tables for each property of the samples, a row for each system."""
    properties: dict[str, dict[str, Any]] = {}
    for name, row in slices.items():
        what, _, part = name.partition(": ")
        count = next(iter(row.values()))["ndcg@20"]["n"]
        properties.setdefault(what, {})[f"{part} ({count})"] = row
    tables = []
    for what, parts in properties.items():
        for columns in _column_groups(list(parts.items())):
            rows = [
                [system, *(estimate_text(row.get(system, {}).get("ndcg@20")) for _, row in columns)]
                for system in systems
            ]
            tables.append(markdown_table([what, *(part for part, _ in columns)], rows))
    return "\n\n".join(tables)


def _column_groups(columns: Sequence[Column]) -> list[Sequence[Column]]:
    return [columns[start : start + MAX_COLUMNS] for start in range(0, len(columns), MAX_COLUMNS)]


def _percentage(row: Mapping[str, Any] | None) -> str:
    return "-" if row is None else f"{row['value']:.1%}"


def estimate_text(row: Mapping[str, Any] | None, number_format: str = ".3f") -> str:
    """Return "value [low, high]", or "-" without a row."""
    if row is None:
        return "-"
    value, low, high = (format(row[key], number_format) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
