"""The worlds of wishes: real works with genres, a mood, a year and people, and words for them.

`fame` decides which works the simulated teacher prefers, `crowd` how often posters name a work.
They disagree on purpose: this is the popularity bias that the adjust stage has to remove. A world
is separate from the catalog, so a catalog edit changes neither the posts nor the teacher.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, get_args

WishWorldName = Literal["film-wishes", "book-wishes"]
WISH_WORLDS: tuple[WishWorldName, ...] = get_args(WishWorldName)

_FILES = {"film-wishes": "films", "book-wishes": "books"}


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


def world_files(name: WishWorldName) -> tuple[Path, Path]:
    """The files of a world: works and words."""
    folder = Path(__file__).parent
    return folder / f"{_FILES[name]}.csv", folder / f"{_FILES[name]}.toml"


@cache
def load_world(name: WishWorldName) -> World:
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


def detect_world(conversation: str) -> World | None:
    """The world of wishes whose request a conversation contains; None if there is none."""
    text = conversation.casefold()
    for name in WISH_WORLDS:
        if any(start in text for start in _request_starts(load_world(name))):
            return load_world(name)
    return None


@cache
def _request_starts(world: World) -> tuple[str, ...]:
    """What precedes {wish} or {works} in the requests of a world, in lower case."""
    requests = (*world.phrases["asks"], *world.phrases["likes"])
    return tuple(dict.fromkeys(text.partition("{")[0].casefold() for text in requests))


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
