"""The text of a simulated teacher's list, with the faults of a real model.

It writes alternative titles and wrong or no years, and sometimes an introductory sentence.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

from convrec.titles.line_format import format_line

ALIAS, WRONG_YEAR, NO_YEAR, REPEAT = 0.25, 0.08, 0.05, 0.015
"""Probabilities per line; ALIAS for works with an alternative title."""
FAME_POWER = 1.5
"""Weight of a work = fame ** FAME_POWER."""
INTRODUCTION = 0.08
"""Probability that an introductory sentence precedes the list."""

_COUNT = re.compile(r"\bexactly (\d+)\b", re.IGNORECASE)
_MARKERS = ("", "", "", "{rank}. ", "{rank}. ", "{rank}. ", "{rank}) ", "- ")


class NamedWork(Protocol):
    """A work as a list names it; `fame` says how much a teacher prefers it."""

    @property
    def title(self) -> str:
        """The usual title."""

    @property
    def year(self) -> int:
        """The year of release."""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Alternative titles."""

    @property
    def fame(self) -> int:
        """From 1, little known, to 9."""


AnyWork = TypeVar("AnyWork", bound=NamedWork)


def requested_count(prompt: str) -> int:
    """The length of the list that a prompt asks for ("exactly N"); 20 if it does not say."""
    return int(match[1]) if (match := _COUNT.search(prompt)) else 20


def write_list(
    works: Sequence[NamedWork], prompt: str, introductions: Sequence[str], rng: random.Random
) -> str:
    """The response that names the works; with years if the prompt contains that word."""
    with_years = "year" in prompt.lower()
    marker = rng.choice(_MARKERS)
    lines = [
        marker.format(rank=rank) + _format_work(work, with_years, rng)
        for rank, work in enumerate(works, 1)
    ]
    if rng.random() < INTRODUCTION:
        lines[:0] = [rng.choice(introductions), ""]
    return "\n".join(lines)


def shuffle_by_fame(works: Sequence[AnyWork], rng: random.Random) -> list[AnyWork]:
    """A random order, drawn without replacement by fame, with likely works at the end."""
    keyed = [(rng.random() ** (work.fame**-FAME_POWER), index) for index, work in enumerate(works)]
    return [works[index] for _, index in sorted(keyed)]


def draw_list(
    fitting: list[AnyWork],
    others: list[AnyWork],
    count: int,
    rng: random.Random,
    *,
    first: float,
    last: float,
) -> list[AnyWork]:
    """At most `count` works, taken from the ends of the two lists, sometimes one of them twice.

    `first` and `last` are the probabilities that the first and the last line are taken from
    `fitting`; linear in between.
    """
    works: list[AnyWork] = []
    while len(works) < count and (fitting or others):
        if works and rng.random() < REPEAT:
            works.append(rng.choice(works))
            continue
        depth = len(works) / max(count - 1, 1)
        wants_fitting = rng.random() < first + (last - first) * depth
        source = fitting if fitting and (wants_fitting or not others) else others
        works.append(source.pop())
    return works


def _format_work(work: NamedWork, with_years: bool, rng: random.Random) -> str:
    title, year = work.title, work.year
    if work.aliases and rng.random() < ALIAS:
        title = rng.choice(work.aliases)
    point = rng.random()
    if not with_years or point < NO_YEAR:
        return format_line(title, None)
    if point < NO_YEAR + WRONG_YEAR:
        year += rng.choice((-3, -2, -1, -1, 1, 1, 2, 3))
    return format_line(title, year)
