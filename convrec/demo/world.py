"""The demo's worlds: real works with genres, a mood, a year and people, and words for them.

`fame` decides which works the simulated teacher prefers, `crowd` how often posters name a work.
They disagree on purpose: this is the popularity bias that the adjust stage has to remove. A world
is separate from the catalog, so a catalog edit changes neither the posts nor the teacher.
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Mapping, Sequence
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
    genres: frozenset[str]
    mood: str
    people: tuple[str, ...]
    fame: int
    crowd: int


@dataclass(frozen=True)
class Era:
    """A named range of years, both ends included."""

    first: int
    last: int
    words: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class World:
    """What the generator of posts and the simulated models share.

    `genres`, `moods` and `eras` map a name to the words for it; `phrases` are the sentences of the
    world's TOML file by key, `refusals` those that rule something out.
    """

    works: tuple[Work, ...]
    genres: Mapping[str, tuple[str, ...]]
    moods: Mapping[str, tuple[str, ...]]
    eras: Mapping[str, Era]
    phrases: Mapping[str, tuple[str, ...]]
    refusals: Mapping[str, tuple[str, ...]]
    dated: str
    broken: Mapping[str, Any]

    @cached_property
    def catalog(self) -> tuple[Work, ...]:
        """The works that the demo catalog has."""
        return tuple(work for work in self.works if work.crowd)

    @cached_property
    def people(self) -> tuple[str, ...]:
        """The people of all works, each once, in order."""
        return tuple(dict.fromkeys(name for work in self.works for name in work.people))


def world_files(name: WorldName) -> tuple[Path, Path]:
    """The files of a world: works and words."""
    folder = Path(__file__).parent
    return folder / f"{name}.csv", folder / f"{name}.toml"


@cache
def load_world(name: WorldName) -> World:
    """A world; its files are read once."""
    work_file, word_file = world_files(name)
    with work_file.open(encoding="utf-8", newline="") as file:
        works = tuple(_read_work(row) for row in csv.DictReader(file))
    words = tomllib.loads(word_file.read_text(encoding="utf-8"))
    return World(
        works=works,
        genres=_tuples(words["genres"]),
        moods=_tuples(words["moods"]),
        eras={
            era: Era(table["years"][0], table["years"][1], tuple(table["words"]))
            for era, table in words["eras"].items()
        },
        phrases=_tuples({key: value for key, value in words.items() if isinstance(value, list)}),
        refusals=_tuples(words["refusals"]),
        dated=words["dated"],
        broken=words["broken"],
    )


def detect_world(instructions: str) -> World:
    """The world whose noun comes first in the instructions; films if there is none."""
    noun = _noun_pattern().search(instructions)
    return load_world(_world_by_noun()[noun[0].lower()] if noun else WORLDS[0])


@cache
def _world_by_noun() -> dict[str, WorldName]:
    return {noun: name for name in WORLDS for noun in load_world(name).phrases["nouns"]}


@cache
def _noun_pattern() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(_world_by_noun())})\b", re.IGNORECASE)


def _read_work(row: Mapping[str, str]) -> Work:
    return Work(
        title=row["title"],
        year=int(row["year"]),
        aliases=tuple(filter(None, row["aliases"].split("|"))),
        genres=frozenset(row["genres"].split("|")),
        mood=row["mood"],
        people=tuple(row["people"].split("|")),
        fame=int(row["fame"]),
        crowd=int(row["crowd"] or 0),
    )


def _tuples(table: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(value) for key, value in table.items()}
