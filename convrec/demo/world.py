"""The demo's worlds: real works, the tastes they belong to, and how well known they are.

A world is a folder. `world.csv` holds facts (title, year, alternative titles, perhaps an author)
beside three made-up columns: `taste`; `fame`, by which the simulated teacher prefers works; and
`crowd`, how often the posters of the demo's board name a work, empty for the works that its catalog
lacks. Fame and crowd disagree on purpose: that is the popularity bias which the adjust stage has to
take out. `tastes.toml` holds the words of each taste, `words.toml` how people write posts about it.
The world is a copy apart from its catalog, so that editing the catalog changes neither the posts
nor the teacher.
"""

from __future__ import annotations

import csv
import re
import tomllib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, get_args

WorldName = Literal["films", "books"]
WORLDS: tuple[WorldName, ...] = get_args(WorldName)
"""The worlds that ship; a request that speaks of none is about the first."""


@dataclass(frozen=True, eq=False)
class Work:
    """A real work, compared by identity; `crowd` is 0 where the demo catalog does not have it."""

    title: str
    year: int
    aliases: tuple[str, ...]
    taste: str
    fame: int
    crowd: int
    author: str = ""


@dataclass(frozen=True)
class Taste:
    """What a kind of viewer or reader asks for, and the words that give the kind away."""

    name: str
    neighbour: str
    cues: tuple[str, ...]
    wants: tuple[str, ...]
    moods: tuple[str, ...]


@dataclass(frozen=True)
class Words:
    """How a board writes: `nouns` mark its requests, `dated` is a title with a year or author."""

    nouns: tuple[str, ...]
    dated: str
    introductions: tuple[str, ...]
    openers: tuple[str, ...]
    liked: tuple[str, ...]
    wants: tuple[str, ...]
    alike: tuple[str, ...]
    disliked: tuple[str, ...]
    closings: tuple[str, ...]
    broken: dict[str, Any]


@dataclass(frozen=True, eq=False)
class World:
    """Everything that the generator of posts and the simulated models share."""

    works: tuple[Work, ...]
    tastes: dict[str, Taste]
    words: Words

    def of_taste(self, taste: str) -> tuple[Work, ...]:
        """The works of a taste that the demo catalog has. Raises KeyError for no taste."""
        return self._by_taste[taste]

    @cached_property
    def _by_taste(self) -> dict[str, tuple[Work, ...]]:
        return {
            taste: tuple(work for work in self.works if work.taste == taste and work.crowd)
            for taste in self.tastes
        }


def world_files(name: WorldName = WORLDS[0]) -> tuple[Path, Path, Path]:
    """The files that a world is read from: works, tastes, words."""
    folder = Path(__file__).parent / name
    return folder / "world.csv", folder / "tastes.toml", folder / "words.toml"


def load_world(name: WorldName = WORLDS[0]) -> World:
    """A world, read once."""
    return _world(name)


@cache
def _world(name: WorldName) -> World:
    work_file, taste_file, word_file = world_files(name)
    with work_file.open(encoding="utf-8", newline="") as file:
        works = tuple(_work(row) for row in csv.DictReader(file))
    tables = tomllib.loads(taste_file.read_text(encoding="utf-8"))
    tastes = {
        name: Taste(
            name, table["neighbour"], *(tuple(table[key]) for key in ("cues", "wants", "moods"))
        )
        for name, table in tables.items()
    }
    words = tomllib.loads(word_file.read_text(encoding="utf-8"))
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in words.items()
    }
    return World(works, tastes, Words(**fields))


def detect_world(instructions: str) -> World:
    """The world whose noun comes first in the words around a conversation; films without any."""
    found = _nouns().search(instructions)
    return load_world(_world_of_noun()[found[0].lower()]) if found else load_world()


@cache
def _world_of_noun() -> dict[str, WorldName]:
    return {noun: name for name in WORLDS for noun in load_world(name).words.nouns}


@cache
def _nouns() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(_world_of_noun())})\b", re.IGNORECASE)


def _work(row: dict[str, str]) -> Work:
    aliases = tuple(filter(None, row["aliases"].split("|")))
    crowd, author = int(row["crowd"] or 0), row.get("author", "")
    return Work(
        row["title"], int(row["year"]), aliases, row["taste"], int(row["fame"]), crowd, author
    )
