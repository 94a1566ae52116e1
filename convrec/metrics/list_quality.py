"""List quality: how well a list keeps to the catalog and the format, whether or not it hits.

in_catalog   the line is a catalog item (same title, years at most 2 apart)
format       the line is "Title (year)"; any text if the catalog has no years
repeats      the line repeats an earlier line of the list
seen         the line is an item that the conversation has already named
exact_n      1 if the list has exactly N lines, blank lines included, else 0

All but `exact_n` are shares of the lines *written* among the first N. Missing lines do not count
here; `exact_n` and Recall penalize them. A list without lines gets 0 everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convrec.metrics import Bools, Floats
from convrec.metrics.matcher import Matches
from convrec.metrics.relevance import MatchedLine

QUALITY_METRICS = ("in_catalog", "format", "exact_n", "repeats", "seen")


def quality_of_list(
    lines: Sequence[MatchedLine], written: int, n: int, *, years: bool
) -> tuple[float, ...]:
    """Compute QUALITY_METRICS of one list from its first `n` lines, at most.

    `written` counts all of its lines. With `years`, a well-formed line needs a year.
    """
    count = max(len(lines), 1)
    well_formed = sum(x.item is not None and (x.item.year is not None or not years) for x in lines)
    return (
        sum(x.item_id is not None for x in lines) / count,
        well_formed / count,
        float(written == n),
        sum(x.repeat for x in lines) / count,
        sum(x.seen for x in lines) / count,
    )


def list_quality(matches: Matches, n: int, *, years: bool) -> dict[str, Floats]:
    """Compute `quality_of_list` of many lists at once, from `matches` at least `n` wide."""
    counts = np.maximum(matches.present[:, :n].sum(axis=1), 1)
    well_formed = matches.well_formed & matches.dated if years else matches.well_formed

    def share(lines: Bools) -> Floats:
        return np.asarray(lines[:, :n].sum(axis=1) / counts)

    return {
        "in_catalog": share(matches.item >= 0),
        "format": share(well_formed),
        "exact_n": (matches.written == n).astype(np.float64),
        "repeats": share(matches.repeat),
        "seen": share(matches.seen),
    }
