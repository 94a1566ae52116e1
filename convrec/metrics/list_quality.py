"""Rates: what kind of lines a list is made of, whether or not they hit.

All are shares of the lines *written* among the first N. A missing line is neither good nor bad
here (`exact_n` and recall pay for it); a list without any line counts 0 everywhere.

in_catalog   the line names a catalog item (title equal, years within 2)
format       the line reads "Title (year)"; any words at all where the catalog has no years
repeats      the line names what an earlier line of the list named
seen         the line names an item that the conversation had already named
exact_n      1 where the list has exactly N lines, blank ones counted, else 0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from convrec.metrics.relevance import MatchedLine

if TYPE_CHECKING:
    from convrec.metrics.matcher import Matches

RATES = ("in_catalog", "format", "exact_n", "repeats", "seen")


def list_rates(
    lines: Sequence[MatchedLine], written: int, n: int, *, years: bool
) -> tuple[float, ...]:
    """The RATES of one list, in that order.

    `lines` are the judged first `n` lines, `written` is how many the list has in all, `years`
    says whether a well-formed line carries a year.
    """
    count = max(len(lines), 1)
    good = sum(x.item is not None and (x.item.year is not None or not years) for x in lines)
    return (
        sum(x.item_id is not None for x in lines) / count,
        good / count,
        float(written == n),
        sum(x.repeat for x in lines) / count,
        sum(x.seen for x in lines) / count,
    )


def rates(verdicts: Matches, n: int, *, years: bool) -> dict[str, NDArray[np.float64]]:
    """The RATES of many lists, one value a list each; as `list_rates`."""
    counts = np.maximum(verdicts.present[:, :n].sum(axis=1), 1)
    good = verdicts.well_formed & verdicts.dated if years else verdicts.well_formed
    shares = (verdicts.item >= 0, good, verdicts.repeat, verdicts.seen)
    in_catalog, formed, repeats, seen = (share[:, :n].sum(axis=1) / counts for share in shares)
    exact = (verdicts.written == n).astype(np.float64)
    return dict(zip(RATES, (in_catalog, formed, exact, repeats, seen), strict=True))
