"""The rows of a `metrics` artifact as tables for people: of the report, and of `compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.metrics.list_quality import RATES
from convrec.stages.evaluate.catalog_spread import SPREAD
from convrec.stages.evaluate.metrics import PAIRS
from convrec.stages.evaluate.paired import COMPARED
from convrec.stages.evaluate.slices import SLICED
from convrec.stages.evaluate.systems import SYSTEMS

if TYPE_CHECKING:
    import polars as pl

RANKING = ("recall@5", "recall@20", "ndcg@5", "ndcg@20", "mrr@20")
COLOURS = {system: position for position, system in enumerate(SYSTEMS)}

Cell = dict[str, Any]
"""A row of `metrics`: value, low, high, n."""

Cells = dict[tuple[str, str | None], dict[str, Cell]]
"""(system, versus) → metric → its row."""


def tables(metrics: pl.DataFrame) -> dict[str, Any]:
    """The tables of a `metrics` artifact, by name; also what `compare` shows of each run."""
    found = cells(metrics, "standard")
    return {
        "systems": {s: found[s, None] for s in SYSTEMS if (s, None) in found},
        "protocols": {
            name: {s: row for (s, versus), row in other.items() if versus is None}
            for name in ("reference", "per-label")
            if (other := cells(metrics, name))
        },
        "pairs": {pair: found[pair] for pair in PAIRS if pair in found},
        "slices": _slices(metrics),
        "ranking": RANKING,
        "rates": RATES,
        "spread": SPREAD,
        "sliced": SLICED,
        "compared": COMPARED,
        "colours": COLOURS,
    }


def cells(metrics: pl.DataFrame, protocol: str) -> Cells:
    """The rows of a protocol that speak of all samples."""
    found: Cells = {}
    whole = (metrics["protocol"] == protocol) & metrics["slice"].is_null()
    for row in metrics.filter(whole).iter_rows(named=True):
        found.setdefault((row["system"], row["versus"]), {})[row["metric"]] = row
    return found


def _slices(metrics: pl.DataFrame) -> dict[str, dict[str, dict[str, Cell]]]:
    """Slice → system → metric → its row."""
    found: dict[str, dict[str, dict[str, Cell]]] = {}
    for row in metrics.filter(metrics["slice"].is_not_null()).iter_rows(named=True):
        of_slice = found.setdefault(row["slice"], {})
        of_slice.setdefault(row["system"], {})[row["metric"]] = row
    return found
