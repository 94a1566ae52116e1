"""Reads INSPIRED and ReDial dialogues; each turn that recommends an item is a sample.

A row has `input` (the dialogue so far), `rec` and `prev_entity` (entity numbers), `dialog_id` and
`turn_id`. `entity2id.json` maps DBpedia names to numbers, and `item_ids.json` lists the numbers
that are items. A DBpedia name may have a note, "(1972 film)". ReDial items take their year from
it; INSPIRED names rarely have a year, so its items match by title alone. Splits are by dialogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from convrec.catalog.rows import CatalogRow, collect_items
from convrec.errors import InputError
from convrec.stages.ingest.chat import is_deleted
from convrec.stages.ingest.raw_rows import RawRow, read_json
from convrec.stages.ingest.samples import (
    BadRowError,
    Sample,
    Title,
    check_unicode,
    checked_row,
    quarantine_raw_row,
    require_row_columns,
    sample_row,
)
from convrec.stages.ingest.splits import split_by_hash
from convrec.titles.normalize import is_plausible_year

REQUIRED_COLUMNS = ("input", "rec", "prev_entity", "dialog_id", "turn_id")
_RESOURCE = re.compile(r"^<?(?:https?://dbpedia\.org/resource/)?(.*?)>?$")
_NOTE = re.compile(r"^(?P<title>.*\S)\s+\((?P<note>[^()]+)\)$")
_NOTE_YEAR = re.compile(r"\b(\d{4})\b")
_LAST_SPEAKER = re.compile(r"\bSystem:$")


class Entities:
    """The titles of entity numbers, and which of them are items."""

    def __init__(self, item_ids: Path, entity2id: Path, years: bool) -> None:
        """Raises InputError if a file has another form, or the two do not belong together."""
        self._years = years
        self._path = item_ids
        self.items: list[int] = _read_entities(item_ids, list)
        names: dict[str, int] = _read_entities(entity2id, dict)
        self._names = {number: name for name, number in names.items()}
        self._item_set = frozenset(self.items)
        unnamed = [number for number in self.items if number not in self._names]
        if unnamed:
            raise InputError(
                f"{entity2id} has no name for item {unnamed[0]} of {item_ids.name} (and "
                f"{len(unnamed) - 1} more); use the two files of one data set"
            )

    def catalog(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """(items, quarantine). The line of a row is its position in the item list."""
        rows = [
            CatalogRow(line, {**self.title(number), "entity": self._names[number]})
            for line, number in enumerate(self.items, start=1)
        ]
        return collect_items(rows, self._path.name, (), str(self._path))[:2]

    def title(self, number: int) -> Title:
        """The title of an entity, with its year if years are used."""
        title, year = parse_dbpedia_name(self._names[number])
        return {"title": title, "year": year if self._years else None}

    def titles(self, numbers: Any, column: str) -> list[Title]:
        """The distinct titles of the items among entity numbers. Raises BadRowError."""
        if not isinstance(numbers, list):
            raise BadRowError(f"{column} is not a list")
        items = [self.title(n) for n in numbers if isinstance(n, int) and n in self._item_set]
        unique = {(check_unicode(item["title"]), item["year"]): item for item in items}
        return list(unique.values())


def parse_dbpedia_name(name: str) -> tuple[str, int | None]:
    """The title and year in a DBpedia name: "<.../Tomorrow_(1972_film)>" is Tomorrow, 1972.

    A note in brackets is removed if its last word is lower-case, as in "(film)" or "(season 1)".
    "(The Unexpected Virtue of Ignorance)" is part of its title.
    """
    match = _RESOURCE.match(name)
    text = unquote(match[1] if match else name).replace("_", " ").strip()
    note = _NOTE.match(text)
    if note is None or (note["note"].split() or [""])[-1][:1].isupper():
        return text, None
    year = _NOTE_YEAR.search(note["note"])
    return note["title"], int(year[1]) if year and is_plausible_year(int(year[1])) else None


def strip_last_speaker(dialogue: str) -> str:
    """A dialogue without a final "System:", which would introduce the answer."""
    return _LAST_SPEAKER.sub("", dialogue.strip()).strip()


def read_dialogues(
    raw_rows: Iterable[RawRow], entities: Entities, where: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(rows of `conversations`, quarantine rows), in the order of the file.

    Raises InputError if a required column is in no row.
    """
    samples: dict[str, Sample] = {}
    bad: list[dict[str, Any]] = []
    columns: set[str] = set()
    for raw in raw_rows:
        if isinstance(raw.value, dict):
            columns |= raw.value.keys()
        try:
            sample = _parse_sample(raw, entities)
            if sample.sample_id in samples:
                line = samples[sample.sample_id].raw.line
                raise BadRowError(f"repeats the turn {sample.sample_id} of line {line}")
            samples[sample.sample_id] = sample
        except BadRowError as error:
            bad.append(quarantine_raw_row(raw, str(error)))
    require_row_columns(columns, REQUIRED_COLUMNS, where, "dialogues need")
    dialogues = [str(sample.raw.value["dialog_id"]) for sample in samples.values()]
    distinct = dict.fromkeys(dialogues)
    splits = dict(zip(distinct, split_by_hash(distinct), strict=True))
    pairs = zip(samples.values(), dialogues, strict=True)
    return [sample_row(sample, splits[dialogue]) for sample, dialogue in pairs], bad


def _parse_sample(raw: RawRow, entities: Entities) -> Sample:
    row = checked_row(raw, REQUIRED_COLUMNS)
    if not isinstance(row["input"], str):
        raise BadRowError("input is not text")
    conversation = check_unicode(strip_last_speaker(row["input"]))
    if not conversation:
        raise BadRowError("empty conversation")
    if is_deleted(conversation):
        raise BadRowError("the dialogue is deleted")
    ground_truth = entities.titles(row["rec"], "rec")
    if not ground_truth:
        raise BadRowError("no item among rec")
    turn = check_unicode(f"{row['dialog_id']}/{row['turn_id']}")
    return Sample(
        raw=raw,
        sample_id=turn,
        context_id=turn,
        created_utc=None,
        conversation=conversation,
        prompt=None,
        seen=entities.titles(row["prev_entity"], "prev_entity"),
        ground_truth=ground_truth,
        completion=None,
    )


def _read_entities(path: Path, kind: type) -> Any:
    value = read_json(path)
    numbers = value.values() if isinstance(value, dict) else value
    if not isinstance(value, kind) or not all(type(number) is int for number in numbers):
        shape = "a list of entity numbers" if kind is list else "a map from name to entity number"
        raise InputError(f"{path} is not {shape}; use the file of the data set")
    return value
