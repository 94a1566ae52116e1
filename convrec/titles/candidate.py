"""A catalog item that the linker considers for a written title."""

from __future__ import annotations

from typing import NamedTuple

from convrec.titles.variants import MatchMethod

MIN_SCORE = 80.0
"""Links score at least this; rejected items score less."""


class Candidate(NamedTuple):
    """A considered item; `penalty` is deducted from 100. The smallest candidate is the best.

    `position` is its row in the catalog. `note` says what the link leaves open.
    """

    rejected: bool
    penalty: float
    year: int
    position: int
    method: MatchMethod
    note: str = ""

    def score(self) -> float:
        """100 without a penalty; at least MIN_SCORE unless rejected, else less."""
        score = round(100.0 - self.penalty, 1)
        if self.rejected:
            return min(max(score, 0.0), MIN_SCORE - 1)
        return max(score, MIN_SCORE)
