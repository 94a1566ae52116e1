"""A title as written, with its year: what a line of a list says."""

from __future__ import annotations

from typing import NamedTuple


class TitleYear(NamedTuple):
    """A title as written, and its year if it has one."""

    title: str
    year: int | None
