"""The demo's world: real films, the tastes they belong to, and how well known they are.

`world.csv` holds facts (title, year, alternative titles) beside three made-up columns: `taste`;
`fame`, by which the simulated teacher prefers films; and `crowd`, how often the posters of the
demo's board name a film, empty for the films that its catalog lacks. Fame and crowd disagree on
purpose: that is the popularity bias which the adjust stage has to take out. `tastes.toml` holds
the words of each taste. The world is a copy apart from `catalog/demo.csv`, so that editing the
catalog changes neither the posts nor the teacher.
"""

from __future__ import annotations

import csv
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, eq=False)
class Film:
    """A real film, compared by identity; `crowd` is 0 where the demo catalog does not have it."""

    title: str
    year: int
    aliases: tuple[str, ...]
    taste: str
    fame: int
    crowd: int


@dataclass(frozen=True)
class Taste:
    """What a kind of viewer asks for, and the words that give the kind away."""

    name: str
    neighbour: str
    cues: tuple[str, ...]
    wants: tuple[str, ...]
    moods: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """Everything that the generator of posts and the simulated models share."""

    films: tuple[Film, ...]
    tastes: dict[str, Taste]

    def of_taste(self, taste: str) -> tuple[Film, ...]:
        """The films of a taste that the demo catalog has."""
        return tuple(film for film in self.films if film.taste == taste and film.crowd)


WORLD_FILES = tuple(Path(__file__).parent / name for name in ("world.csv", "tastes.toml"))
"""The files that the world is read from: films, then tastes."""


@cache
def world() -> World:
    """The world, read once."""
    film_file, taste_file = WORLD_FILES
    with film_file.open(encoding="utf-8", newline="") as file:
        films = tuple(_film(row) for row in csv.DictReader(file))
    tables = tomllib.loads(taste_file.read_text(encoding="utf-8"))
    tastes = {
        name: Taste(
            name, table["neighbour"], *(tuple(table[key]) for key in ("cues", "wants", "moods"))
        )
        for name, table in tables.items()
    }
    return World(films, tastes)


def _film(row: dict[str, str]) -> Film:
    aliases = tuple(filter(None, row["aliases"].split("|")))
    crowd = int(row["crowd"] or 0)
    return Film(row["title"], int(row["year"]), aliases, row["taste"], int(row["fame"]), crowd)
