"""The simulated teacher: a ranked list from the stated taste, with a real model's faults.

It knows works and tastes, never the ground truth. Its faults: it prefers famous works to those
that the board's posters name, misreads some posts, drifts off the taste down the list, names works
outside the catalog, writes alternative titles, wrong years and none, and repeats itself now and
then. The rates below are tuned to the targets in `benchmarks/demo_world.py`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from convrec.demo.post_parser import ParsedPost, parse_post
from convrec.demo.world import Work, World
from convrec.titles.line_format import format_line

MISREAD = 0.12
"""Share of posts in which the neighbouring taste is understood."""
FIRST_ON_TASTE, LAST_ON_TASTE = 0.9, 0.55
"""Chance that the first and the last line are of the taste; linear in between."""
FAME_POWER = 1.5
"""How strongly fame decides among works: weight = fame ** FAME_POWER."""
NAMED_AGAIN = 0.1
"""Chance that a work which the poster named is recommended back."""
ALIAS, WRONG_YEAR, NO_YEAR, REPEAT = 0.25, 0.08, 0.05, 0.015
"""Chances, a line; ALIAS of the works that have an alternative title."""

_COUNT = re.compile(r"\bexactly (\d+)\b", re.IGNORECASE)
_MARKERS = ("", "", "", "{rank}. ", "{rank}. ", "{rank}. ", "{rank}) ", "- ")


def respond(conversation: str, asked: str, rng: random.Random, here: World) -> str:
    """The teacher's reply to a conversation; `asked`, the words around it, says "exactly N".

    Lines bear years where `asked` speaks of a year. `here` is the world that it speaks of.
    """
    count = int(found[1]) if (found := _COUNT.search(asked)) else 20
    works = rank_works(parse_post(conversation, here), count, rng, here)
    years = "year" in asked.lower()
    marker = rng.choice(_MARKERS)
    lines = [
        marker.format(rank=rank) + _line(work, years, rng) for rank, work in enumerate(works, 1)
    ]
    if rng.random() < 0.08:
        lines[:0] = [rng.choice(here.words.introductions), ""]
    return "\n".join(lines)


def rank_works(reading: ParsedPost, count: int, rng: random.Random, here: World) -> list[Work]:
    """`count` works for a post, best guess first; fewer only where the world has no more."""
    taste = reading.strongest()
    if taste is not None and rng.random() < MISREAD:
        taste = here.tastes[taste].neighbour
    named = {work for work in reading.works if rng.random() >= NAMED_AGAIN}
    open_works = [work for work in here.works if work not in named]
    liked = shuffle_by_fame([work for work in open_works if work.taste == taste], rng)
    others = shuffle_by_fame([work for work in open_works if work.taste != taste], rng)
    works: list[Work] = []
    while len(works) < count and (liked or others):
        if works and rng.random() < REPEAT:
            works.append(rng.choice(works))
            continue
        depth = len(works) / max(count - 1, 1)
        on_taste = rng.random() < FIRST_ON_TASTE + (LAST_ON_TASTE - FIRST_ON_TASTE) * depth
        source = liked if liked and (on_taste or not others) else others
        works.append(source.pop())
    return works


def shuffle_by_fame(works: Sequence[Work], rng: random.Random) -> list[Work]:
    """A random order, drawn without replacement by fame; the likeliest stand at the end."""
    keyed = [(rng.random() ** (work.fame**-FAME_POWER), place) for place, work in enumerate(works)]
    return [works[place] for _, place in sorted(keyed)]


def _line(work: Work, years: bool, rng: random.Random) -> str:
    title, year = work.title, work.year
    if work.aliases and rng.random() < ALIAS:
        title = rng.choice(work.aliases)
    chance = rng.random()
    if not years or chance < NO_YEAR:
        return format_line(title, None)
    if chance < NO_YEAR + WRONG_YEAR:
        year += rng.choice((-3, -2, -1, -1, 1, 1, 2, 3))
    return format_line(title, year)
