"""One line of `convrec train check`."""

from __future__ import annotations

from typing import NamedTuple

OK, MISSING, REFUSED = "ok", "lacking here", "refused"


class Finding(NamedTuple):
    """The result of one check: the part, its state (OK, MISSING or REFUSED), and a phrase."""

    part: str
    state: str
    text: str


def found(part: str, missing: str, fine: str = "") -> list[Finding]:
    """A finding of what is missing; if nothing is, of what is fine."""
    if missing:
        return [Finding(part, MISSING, missing)]
    return [Finding(part, OK, fine)] if fine else []
