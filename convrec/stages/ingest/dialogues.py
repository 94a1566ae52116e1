"""INSPIRED and ReDial dialogues: each turn that recommends something is one sample.

A row holds `input` (the dialogue so far), `rec` and `prev_entity` (entity numbers), `dialog_id` and
`turn_id`. What a number means stands in `entity2id.json` (DBpedia names) and which numbers are
items in `item_ids.json`. DBpedia names tell films apart by a note, "(1972 film)"; INSPIRED's are
mostly without a year, so there items match by title alone, ReDial's keep the year of the note.
Splits are by dialogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from convrec.catalog.load import CatalogRow, collect_items
from convrec.errors import InputError
from convrec.stages.ingest.files import RawRow, read_json
from convrec.stages.ingest.samples import (
    BadRowError,
    Sample,
    Title,
    quarantined,
    refuse_lacking,
    sample_row,
    usable_row,
    whole_text,
)
from convrec.stages.ingest.splits import split_by_hash
from convrec.titles.normalize import usable_year

if TYPE_CHECKING:
    import polars as pl

NEEDED = ("input", "rec", "prev_entity", "dialog_id", "turn_id")
_RESOURCE = re.compile(r"^<?(?:https?://dbpedia\.org/resource/)?(.*?)>?$")
_NOTE = re.compile(r"^(?P<title>.*\S)\s+\((?P<note>[^()]+)\)$")
_NOTE_YEAR = re.compile(r"\b(\d{4})\b")
_LAST_SPEAKER = re.compile(r"\bSystem:$")


class Entities:
    """What the entity numbers of a data set mean."""

    def __init__(self, item_ids: Path, entity2id: Path, years: bool) -> None:
        """Raises InputError where a file is not of the known form."""
        self.years = years
        self._path = item_ids
        self.items: list[int] = _checked(item_ids, list)
        names: dict[str, int] = _checked(entity2id, dict)
        self._names = {number: name for name, number in names.items()}
        self._members = frozenset(self.items)
        unnamed = [number for number in self.items if number not in self._names]
        if unnamed:
            raise InputError(
                f"{entity2id} has no name for the item {unnamed[0]} of {item_ids.name} (and "
                f"{len(unnamed) - 1} more); the two files must belong together"
            )

    def catalog(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """(items, quarantine); the line of a row is its place in the item list."""
        rows = [
            CatalogRow(line, {**self.title(number), "entity": self._names[number]})
            for line, number in enumerate(self.items, start=1)
        ]
        return collect_items(rows, self._path.name, (), str(self._path))

    def title(self, number: int) -> Title:
        """The title of an entity, with its year where years are used."""
        title, year = read_name(self._names[number])
        return {"title": title, "year": year if self.years else None}

    def titles(self, numbers: Any, column: str) -> list[Title]:
        """The items among entity numbers, each title once. Raises BadRowError."""
        if not isinstance(numbers, list):
            raise BadRowError(f"{column} is not a list")
        items = [self.title(n) for n in numbers if isinstance(n, int) and n in self._members]
        unique = {(whole_text(item["title"]), item["year"]): item for item in items}
        return list(unique.values())


def read_name(name: str) -> tuple[str, int | None]:
    """The title and year in a DBpedia name: "<.../Tomorrow_(1972_film)>" is Tomorrow, 1972.

    A note in brackets is taken off where its last word is written small, as in "(film)" or
    "(season 1)"; "(The Unexpected Virtue of Ignorance)" belongs to its title.
    """
    found = _RESOURCE.match(name)
    text = unquote(found[1] if found else name).replace("_", " ").strip()
    note = _NOTE.match(text)
    if note is None or (note["note"].split() or [""])[-1][:1].isupper():
        return text, None
    year = _NOTE_YEAR.search(note["note"])
    return note["title"], int(year[1]) if year and usable_year(int(year[1])) else None


def without_last_speaker(dialogue: str) -> str:
    """A dialogue without the "System:" that it may end with, behind which the answer would be."""
    return _LAST_SPEAKER.sub("", dialogue.strip()).strip()


def read_dialogues(
    raws: Iterable[RawRow], entities: Entities, where: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(rows of `conversations`, quarantine rows), both in the order of the file.

    Raises InputError where a needed column is in no row at all.
    """
    samples: dict[str, Sample] = {}
    bad: list[dict[str, Any]] = []
    columns: set[str] = set()
    for raw in raws:
        if isinstance(raw.value, dict):
            columns |= raw.value.keys()
        try:
            sample = _sample(raw, entities)
            if sample.sample_id in samples:
                line = samples[sample.sample_id].raw.line
                raise BadRowError(f"repeats the turn {sample.sample_id} of line {line}")
            samples[sample.sample_id] = sample
        except BadRowError as error:
            bad.append(quarantined(raw, str(error)))
    refuse_lacking(columns, NEEDED, where, "dialogues need")
    groups = dict.fromkeys(sample.group for sample in samples.values())
    splits = dict(zip(groups, split_by_hash(groups), strict=True))
    return [sample_row(sample, splits[sample.group]) for sample in samples.values()], bad


def _sample(raw: RawRow, entities: Entities) -> Sample:
    row = usable_row(raw, NEEDED)
    if not isinstance(row["input"], str):
        raise BadRowError("input is not text")
    conversation = whole_text(without_last_speaker(row["input"]))
    if not conversation:
        raise BadRowError("empty conversation")
    ground_truth = entities.titles(row["rec"], "rec")
    if not ground_truth:
        raise BadRowError("no item among rec")
    turn = whole_text(f"{row['dialog_id']}/{row['turn_id']}")
    return Sample(
        raw=raw,
        sample_id=turn,
        context_id=turn,
        group=str(row["dialog_id"]),
        created_utc=None,
        conversation=conversation,
        prompt=None,
        seen=entities.titles(row["prev_entity"], "prev_entity"),
        ground_truth=ground_truth,
        completion=None,
    )


def _checked(path: Path, kind: type) -> Any:
    value = read_json(path)
    numbers = value.values() if isinstance(value, dict) else value
    if not isinstance(value, kind) or not all(type(n) is int for n in numbers):
        shape = "a list of entity numbers" if kind is list else "a map from name to entity number"
        raise InputError(f"{path} is not {shape}; give the file that came with the dialogues")
    return value
