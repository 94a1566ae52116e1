"""Facts about items: what a table, a folder of texts or a class of yours knows of a title."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from convrec.artifacts.frames import artifact_frame
from convrec.catalog.load import read_catalog_file
from convrec.config import Config, resolve_path
from convrec.config.choices import FACT_SOURCES
from convrec.errors import InputError
from convrec.titles.linker import Linker
from convrec.titles.normalize import split_year
from convrec.utils.latest_value import LatestValue

MAX_CHARACTERS = 2000
"""Longest facts about one title; the rest is cut."""

TEXT_SUFFIXES = (".txt", ".md")

Titles = Sequence[tuple[str, int | None]]
"""Title and year."""

_LATEST_TABLE: LatestValue[FactTable] = LatestValue()
_LATEST_FACTS: LatestValue[list[str]] = LatestValue()
"""A run needs the facts to send requests, to name the artifact and to build it."""


class FactSource(Protocol):
    """Finds what is known about titles. A new source is one class and one `register_facts`."""

    def find(self, titles: Titles) -> list[str]:
        """The facts about each title, as text; empty where nothing is known."""


class FactTable:
    """Facts by title: `items` has the columns of a catalog, whose genres and text are the facts."""

    def __init__(self, items: pl.DataFrame, noun: str) -> None:
        genres = pl.col("genres").list.join(", ")
        self._facts = items.select(pl.concat_str(genres, "text", separator="; ")).to_series()
        self._rows = {item_id: row for row, item_id in enumerate(items["item_id"])}
        self._linker = Linker(items, noun)

    def find(self, titles: Titles) -> list[str]:
        """The facts of the item that each title links to."""
        links = self._linker.link_many(titles)
        facts = [self._facts[self._rows[link.item_id]] if link else "" for link in links]
        return [text.strip("; ")[:MAX_CHARACTERS] for text in facts]


def read_facts(config: Config) -> FactSource | None:
    """The source that `remap.facts` and `remap.fact_source` name; None if they are empty."""
    settings = config.remap
    if settings.fact_source:
        return SOURCES[settings.fact_source](config)
    if not settings.facts:
        return None
    path = resolve_path(settings.facts, "remap.facts")

    def read() -> FactTable:
        items = _read_folder(path) if path.is_dir() else _read_table(path)
        return FactTable(items, config.domain.noun)

    return _LATEST_TABLE.get((*_file_states(path), config.domain.noun), read)


def find_facts(config: Config, titles: Titles) -> list[str] | None:
    """The facts about each title, empty where nothing is known; None without a source.

    Those of a file are cached until the file or the titles change.
    """
    source = read_facts(config)
    if not isinstance(source, FactTable):
        return None if source is None else source.find(titles)
    return _LATEST_FACTS.get((source, *titles), lambda: source.find(titles))


def register_facts(name: str, source: Callable[[Config], FactSource]) -> None:
    """Allow `remap.fact_source=name`; call it before the configuration is loaded."""
    SOURCES[name] = source
    FACT_SOURCES.add(name)


SOURCES: dict[str, Callable[[Config], FactSource]] = {}


def _file_states(path: Path) -> list[tuple[str, int, int]]:
    """Path, time and size of a file, or of each text file in a folder."""
    files = _text_files(path) if path.is_dir() else [path]
    states = [(str(file), file.stat()) for file in files if file.exists()]
    return [(file, state.st_mtime_ns, state.st_size) for file, state in states]


def _text_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in TEXT_SUFFIXES)


def _read_table(path: Path) -> pl.DataFrame:
    """A table like a catalog: title, and genres or columns of text. Years are optional."""
    items = read_catalog_file(path, None, years=False, year_in_title=False).items
    if items.filter((pl.col("text") != "") | (pl.col("genres").list.len() > 0)).is_empty():
        raise InputError(
            f"{path} has titles but no facts about them; remap.facts needs a column `genres` or a "
            "column of text besides title and year"
        )
    return items


def _read_folder(folder: Path) -> pl.DataFrame:
    """One item for each text file: the first line is its title, the rest are the facts."""
    rows: list[dict[str, Any]] = []
    for file in _text_files(folder):
        text = file.read_text(encoding="utf-8-sig", errors="replace")
        first, _, rest = text.strip().partition("\n")
        title, year = split_year(first.lstrip("# ").strip())
        if title:
            names = {"item_id": str(file.relative_to(folder)), "title": title, "year": year}
            rows.append({**names, "aliases": [], "genres": [], "text": " ".join(rest.split())})
    if not rows:
        raise InputError(
            f"{folder} has no text file that begins with a title; remap.facts takes a CSV or "
            f"Parquet table, or a folder of {' or '.join(TEXT_SUFFIXES)} files whose first line is "
            "the title"
        )
    return artifact_frame("catalog", rows)
