"""The demo's worlds: real works, their tastes, and how well known they are.

`fame` decides which works the simulated teacher prefers, `crowd` how often posters name a work.
They disagree on purpose: this is the popularity bias that the adjust stage has to remove. A world
is separate from the catalog, so a catalog edit changes neither the posts nor the teacher.
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
"""The worlds that ship; a request without a noun of any is about the first."""


@dataclass(frozen=True, eq=False)
class Work:
    """A real work, compared by identity; `crowd` is 0 if the demo catalog does not have it."""

    title: str
    year: int
    aliases: tuple[str, ...]
    taste: str
    fame: int
    crowd: int
    author: str = ""


@dataclass(frozen=True)
class Taste:
    """What people of one taste ask for; `cues` identify it, `neighbor` is the most similar one."""

    name: str
    neighbor: str
    cues: tuple[str, ...]
    wants: tuple[str, ...]
    moods: tuple[str, ...]


@dataclass(frozen=True)
class Words:
    """Sentences of posts; `nouns` identify a request, `dated` adds a year or author to a title."""

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
    """What the generator of posts and the simulated models share."""

    works: tuple[Work, ...]
    tastes: dict[str, Taste]
    words: Words

    def of_taste(self, taste: str) -> tuple[Work, ...]:
        """The works of a taste that the demo catalog has. Raises KeyError for an unknown taste."""
        return self._by_taste[taste]

    @cached_property
    def _by_taste(self) -> dict[str, tuple[Work, ...]]:
        return {
            taste: tuple(work for work in self.works if work.taste == taste and work.crowd)
            for taste in self.tastes
        }


def world_files(name: WorldName = WORLDS[0]) -> tuple[Path, Path, Path]:
    """The files of a world: works, tastes, words."""
    folder = Path(__file__).parent / name
    return folder / "world.csv", folder / "tastes.toml", folder / "words.toml"


def load_world(name: WorldName = WORLDS[0]) -> World:
    """A world; its files are read once."""
    return _world(name)


@cache
def _world(name: WorldName) -> World:
    work_file, taste_file, word_file = world_files(name)
    with work_file.open(encoding="utf-8", newline="") as file:
        works = tuple(
            Work(
                title=row["title"],
                year=int(row["year"]),
                aliases=tuple(filter(None, row["aliases"].split("|"))),
                taste=row["taste"],
                fame=int(row["fame"]),
                crowd=int(row["crowd"] or 0),
                author=row.get("author", ""),
            )
            for row in csv.DictReader(file)
        )
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
    """The world whose noun comes first in the instructions; films if there is none."""
    noun = _noun_pattern().search(instructions)
    return load_world(_world_by_noun()[noun[0].lower()]) if noun else load_world()


@cache
def _world_by_noun() -> dict[str, WorldName]:
    return {noun: name for name in WORLDS for noun in load_world(name).words.nouns}


@cache
def _noun_pattern() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(_world_by_noun())})\b", re.IGNORECASE)
