"""The report's tables as markdown, for Prefect and for model cards.

Names and figures are our own, so that nothing has to be escaped, and a card can be read as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from convrec.stages.evaluate.catalog_spread import SPREAD
from convrec.stages.evaluate.report.tables import RANKING, tables
from convrec.utils.markdown import plain_table

if TYPE_CHECKING:
    import polars as pl

WIDEST = 5
"""Columns of intervals that fit beside what Prefect's page says of an artifact."""


def evaluation_markdown(metrics: pl.DataFrame) -> str:
    """Systems, differences, parts of the test set, and spread over the catalog."""
    found = tables(metrics)
    parts = ["## Systems, protocol standard", systems_markdown(found["systems"], found["rates"])]
    if found["pairs"]:
        parts += ["## Differences on the same samples", _pairs(found["pairs"])]
    if found["slices"]:
        parts += ["## NDCG@20 on parts of the test set, and their samples", _slices(found)]
    parts += ["## Popularity and coverage", _systems(found["systems"], SPREAD)]
    return "\n\n".join(parts)


def systems_markdown(systems: Mapping[str, Mapping[str, Any]], rates: tuple[str, ...]) -> str:
    """One row a system: ranking metrics with their intervals, and below them rates.

    Two tables, because Prefect's page has room for WIDEST intervals.
    """
    shares = [
        [system, *(_share(row.get(name)) for name in rates)] for system, row in systems.items()
    ]
    return f"{_systems(systems, RANKING)}\n\n{plain_table(['system', *rates], shares)}"


def _systems(systems: Mapping[str, Mapping[str, Any]], names: tuple[str, ...]) -> str:
    rows = [[system, *(_cell(row.get(name)) for name in names)] for system, row in systems.items()]
    return plain_table(["system", *names], rows)


def _pairs(pairs: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    rows = []
    for (a, b), row in pairs.items():
        found = row["ndcg@20"]
        outcomes = [f"{row[f'{name} ndcg@20']['value']:.0%}" for name in ("wins", "ties", "losses")]
        interval = f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
        rows.append(
            [f"{a} - {b}", interval, *outcomes, f"{row['detectable ndcg@20']['value']:.3f}"]
        )
    return plain_table(["a - b", "NDCG@20", "wins", "ties", "losses", "detectable"], rows)


def _slices(found: Mapping[str, Any]) -> str:
    """A table a property of the samples, one row a system."""
    properties: dict[str, dict[str, Any]] = {}
    for name, row in found["slices"].items():
        what, _, part = name.partition(": ")
        count = next(iter(row.values()))["ndcg@20"]["n"]
        properties.setdefault(what, {})[f"{part} ({count})"] = row
    made = []
    for what, parts in properties.items():
        for start in range(0, len(parts), WIDEST):
            some = list(parts.items())[start : start + WIDEST]
            rows = [
                [system, *(_cell(row.get(system, {}).get("ndcg@20")) for _, row in some)]
                for system in found["systems"]
            ]
            made.append(plain_table([what, *(part for part, _ in some)], rows))
    return "\n\n".join(made)


def _share(row: Mapping[str, Any] | None) -> str:
    return "-" if row is None else f"{row['value']:.1%}"


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
