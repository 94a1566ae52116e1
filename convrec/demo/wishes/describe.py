"""The simulated teacher describes a work: it knows those of the worlds, and makes up the others.

One description in a hundred is prose instead of JSON, as models write now and then.
"""

from __future__ import annotations

import json
import random
from functools import cache

from convrec.demo.wishes.world import WISH_WORLDS, Work, load_world
from convrec.titles.line_format import parse_line
from convrec.titles.normalize import exact_key

PROSE = 0.01


def respond(line: str, rng: random.Random) -> str:
    """The description of the work that a line "Title (year)" names, as JSON."""
    named = parse_line(line.strip())
    title, year = (named.title, named.year) if named else (line.strip(), None)
    works = [work for work in _works().get(exact_key(title), ()) if year in (None, work.year)]
    if rng.random() < PROSE:
        return f"{title} is one that many people love."
    work = works[0] if works else None
    genres, mood = (work.genres, work.mood) if work else _guess(rng)
    kinds = " and ".join(sorted(genres))
    people = ", ".join(work.people) if work else ""
    plot = f"A {mood} {kinds} story{f' by {people}' if people else ''}. It stays {mood} to the end."
    keywords = [*sorted(genres), mood, *(work.people if work else ())]
    return json.dumps({"known": work is not None, "keywords": keywords, "plot": plot})


@cache
def _works() -> dict[str, list[Work]]:
    """The works of all worlds by each of their names."""
    found: dict[str, list[Work]] = {}
    for name in WISH_WORLDS:
        for work in load_world(name).works:
            for title in (work.title, *work.aliases):
                found.setdefault(exact_key(title), []).append(work)
    return found


def _guess(rng: random.Random) -> tuple[frozenset[str], str]:
    """Genres and a mood of some work, for a title of no world."""
    work = rng.choice(load_world(WISH_WORLDS[0]).works)
    return work.genres, work.mood
