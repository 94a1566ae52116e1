"""The report's tables as markdown, for Prefect and for model cards.

Names and figures are our own, so that nothing has to be escaped, and a card can be read as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from convrec.evaluate.spread import SPREAD
from convrec.evaluate.tables import RANKING, tables
from convrec.markdown import plain_table

if TYPE_CHECKING:
    import polars as pl


def evaluation_markdown(metrics: pl.DataFrame) -> str:
    """Systems, differences, parts of the test set, and spread over the catalog."""
    found = tables(metrics)
    parts = ["## Systems, protocol standard", systems_markdown(found["systems"], found["rates"])]
    if found["pairs"]:
        parts += ["## Differences on the same samples", _pairs(found["pairs"])]
    if found["slices"]:
        parts += ["## NDCG@20 on parts of the test set", _slices(found)]
    parts += ["## Popularity and coverage", _systems(found["systems"], SPREAD)]
    return "\n\n".join(parts)


def systems_markdown(systems: Mapping[str, Mapping[str, Any]], rates: tuple[str, ...]) -> str:
    """One row a system: ranking metrics with their intervals, then rates."""
    return _systems(systems, (*RANKING, *rates))


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
    systems = list(found["systems"])
    rows = []
    for name, row in found["slices"].items():
        cells = [_cell(row.get(system, {}).get("ndcg@20")) for system in systems]
        rows.append([name, *cells, next(iter(row.values()))["ndcg@20"]["n"]])
    return plain_table(["samples with", *systems, "samples"], rows)


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
