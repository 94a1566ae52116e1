"""The simulated teacher describes a work: it knows those of its world, and makes up the others.

One description in a hundred is prose instead of JSON, as models write now and then.
"""

from __future__ import annotations

import json
import random

from convrec.demo.reader import find_work
from convrec.demo.world import World
from convrec.titles.line_format import parse_line

PROSE = 0.01
WRONG_BY = 3
"""Years by which the year of a known work may be wrong, as in the teacher's lists."""


def respond(line: str, rng: random.Random, world: World) -> str:
    """The description of the work that a line "Title (year)" names, as JSON."""
    named = parse_line(line.strip())
    title, year = (named.title, named.year) if named else (line.strip(), None)
    if rng.random() < PROSE:
        return f"{title} is one that many people love."
    work = find_work(title, year, world)
    if work and year and abs(work.year - year) > WRONG_BY:
        work = None
    genres, mood = (work.genres, work.mood) if work else _guess(rng, world)
    kinds = " and ".join(sorted(genres))
    people = ", ".join(work.people) if work else ""
    plot = f"A {mood} {kinds} story{f' by {people}' if people else ''}. It stays {mood} to the end."
    keywords = [*sorted(genres), mood, *(work.people if work else ())]
    return json.dumps({"known": work is not None, "keywords": keywords, "plot": plot})


def _guess(rng: random.Random, world: World) -> tuple[frozenset[str], str]:
    """Genres and a mood of some work, for a title that the world does not have."""
    work = rng.choice(world.works)
    return work.genres, work.mood
