"""The simulated teacher: a ranked list for the stated taste, with the faults of a real model.

It prefers famous works to those that posters name, misreads some posts, drifts off the taste down
the list, names works outside the catalog, writes alternative titles and wrong or no years, and
sometimes repeats itself. The rates are tuned to the targets in `benchmarks/demo_world.py`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from convrec.demo.post_parser import ParsedPost, parse_post
from convrec.demo.world import Work, World
from convrec.titles.line_format import format_line

MISREAD = 0.12
"""Probability that the neighboring taste is understood."""
FIRST_ON_TASTE, LAST_ON_TASTE = 0.9, 0.55
"""Probability that the first and the last line have the taste; linear in between."""
FAME_POWER = 1.5
"""Weight of a work = fame ** FAME_POWER."""
REPEAT_SEEN = 0.1
"""Probability that a work which the poster named may be recommended."""
ALIAS, WRONG_YEAR, NO_YEAR, REPEAT = 0.25, 0.08, 0.05, 0.015
"""Probabilities per line; ALIAS for works with an alternative title."""
INTRODUCTION = 0.08
"""Probability that an introductory sentence precedes the list."""

_COUNT = re.compile(r"\bexactly (\d+)\b", re.IGNORECASE)
_MARKERS = ("", "", "", "{rank}. ", "{rank}. ", "{rank}. ", "{rank}) ", "- ")


def respond(conversation: str, prompt: str, rng: random.Random, world: World) -> str:
    """The teacher's response to a conversation.

    `prompt` is the text around the conversation. It states the length ("exactly N"), and asks for
    years if it contains the word.
    """
    count = int(match[1]) if (match := _COUNT.search(prompt)) else 20
    works = rank_works(parse_post(conversation, world), count, rng, world)
    with_years = "year" in prompt.lower()
    marker = rng.choice(_MARKERS)
    lines = [
        marker.format(rank=rank) + _format_work(work, with_years, rng)
        for rank, work in enumerate(works, 1)
    ]
    if rng.random() < INTRODUCTION:
        lines[:0] = [rng.choice(world.words.introductions), ""]
    return "\n".join(lines)


def rank_works(post: ParsedPost, count: int, rng: random.Random, world: World) -> list[Work]:
    """`count` works for a post, the best guess first; fewer if the world has no more."""
    taste = post.main_taste()
    if taste is not None and rng.random() < MISREAD:
        taste = world.tastes[taste].neighbor
    excluded = {work for work in post.works if rng.random() >= REPEAT_SEEN}
    eligible = [work for work in world.works if work not in excluded]
    on_taste = shuffle_by_fame([work for work in eligible if work.taste == taste], rng)
    others = shuffle_by_fame([work for work in eligible if work.taste != taste], rng)
    works: list[Work] = []
    while len(works) < count and (on_taste or others):
        if works and rng.random() < REPEAT:
            works.append(rng.choice(works))
            continue
        depth = len(works) / max(count - 1, 1)
        chance = FIRST_ON_TASTE + (LAST_ON_TASTE - FIRST_ON_TASTE) * depth
        wants_taste = rng.random() < chance
        source = on_taste if on_taste and (wants_taste or not others) else others
        works.append(source.pop())
    return works


def shuffle_by_fame(works: Sequence[Work], rng: random.Random) -> list[Work]:
    """A random order, drawn without replacement by fame, with likely works at the end."""
    keyed = [(rng.random() ** (work.fame**-FAME_POWER), index) for index, work in enumerate(works)]
    return [works[index] for _, index in sorted(keyed)]


def _format_work(work: Work, with_years: bool, rng: random.Random) -> str:
    title, year = work.title, work.year
    if work.aliases and rng.random() < ALIAS:
        title = rng.choice(work.aliases)
    point = rng.random()
    if not with_years or point < NO_YEAR:
        return format_line(title, None)
    if point < NO_YEAR + WRONG_YEAR:
        year += rng.choice((-3, -2, -1, -1, 1, 1, 2, 3))
    return format_line(title, year)
