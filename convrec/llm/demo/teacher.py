"""The simulated teacher: a ranked list from the stated taste, with a real model's faults.

It knows films and tastes, never the ground truth. Its faults: it prefers famous films to those
that the board's posters name, misreads some posts, drifts off the taste down the list, names films
outside the catalog, writes alternative titles, wrong years and none, and repeats itself now and
then. The rates below are tuned to the targets in `benchmarks/demo_world.py`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from convrec.lists import format_line
from convrec.llm.demo.reading import Reading, read
from convrec.llm.demo.world import Film, world

MISREAD = 0.12
"""Share of posts in which the neighbouring taste is understood."""
FIRST_ON_TASTE, LAST_ON_TASTE = 0.9, 0.55
"""Chance that the first and the last line are of the taste; linear in between."""
FAME_POWER = 1.5
"""How strongly fame decides among films: weight = fame ** FAME_POWER."""
NAMED_AGAIN = 0.1
"""Chance that a film which the poster named is recommended back."""
ALIAS, WRONG_YEAR, NO_YEAR, REPEAT = 0.25, 0.08, 0.05, 0.015
"""Chances, a line; ALIAS of the films that have an alternative title."""

_COUNT = re.compile(r"\bexactly (\d+)\b", re.IGNORECASE)
_INTRODUCTIONS = (
    "Here are some films you might enjoy:",
    "Based on what you like, I would suggest:",
    "Sure! My recommendations:",
)
_MARKERS = ("", "", "", "{rank}. ", "{rank}. ", "{rank}. ", "{rank}) ", "- ")


def answer(conversation: str, asked: str, rng: random.Random) -> str:
    """The teacher's reply to a conversation; `asked`, the words around it, says "exactly N".

    Lines bear years where `asked` speaks of a year.
    """
    count = int(found[1]) if (found := _COUNT.search(asked)) else 20
    films = rank_films(read(conversation), count, rng)
    years = "year" in asked.lower()
    marker = rng.choice(_MARKERS)
    lines = [
        marker.format(rank=rank) + _line(film, years, rng) for rank, film in enumerate(films, 1)
    ]
    if rng.random() < 0.08:
        lines[:0] = [rng.choice(_INTRODUCTIONS), ""]
    return "\n".join(lines)


def rank_films(reading: Reading, count: int, rng: random.Random) -> list[Film]:
    """`count` films for a post, best guess first; fewer only where the world has no more."""
    taste = reading.strongest()
    if taste is not None and rng.random() < MISREAD:
        taste = world().tastes[taste].neighbour
    named = {film for film in reading.films if rng.random() >= NAMED_AGAIN}
    open_films = [film for film in world().films if film not in named]
    liked = shuffle_by_fame([film for film in open_films if film.taste == taste], rng)
    others = shuffle_by_fame([film for film in open_films if film.taste != taste], rng)
    films: list[Film] = []
    while len(films) < count and (liked or others):
        if films and rng.random() < REPEAT:
            films.append(rng.choice(films))
            continue
        depth = len(films) / max(count - 1, 1)
        on_taste = rng.random() < FIRST_ON_TASTE + (LAST_ON_TASTE - FIRST_ON_TASTE) * depth
        source = liked if liked and (on_taste or not others) else others
        films.append(source.pop())
    return films


def shuffle_by_fame(films: Sequence[Film], rng: random.Random) -> list[Film]:
    """A random order, drawn without replacement by fame; the likeliest stand at the end."""
    keyed = [(rng.random() ** (film.fame**-FAME_POWER), place) for place, film in enumerate(films)]
    return [films[place] for _, place in sorted(keyed)]


def _line(film: Film, years: bool, rng: random.Random) -> str:
    title, year = film.title, film.year
    if film.aliases and rng.random() < ALIAS:
        title = rng.choice(film.aliases)
    chance = rng.random()
    if not years or chance < NO_YEAR:
        return format_line(title, None)
    if chance < NO_YEAR + WRONG_YEAR:
        year += rng.choice((-3, -2, -1, -1, 1, 1, 2, 3))
    return format_line(title, year)
