"""The catalog that lists are made of: that of the checkpoint, a published version, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from convrec.artifacts import Store
from convrec.artifacts.lineage import checkpoint_catalog
from convrec.catalog.load import load_configured_catalog, read_catalog_rows
from convrec.catalog.selection import find_catalog_file
from convrec.catalog.versions import PREFIX, newest_version, parse_catalog_name
from convrec.config import Config
from convrec.config.paths import is_http_url
from convrec.errors import InputError
from convrec.titles.normalize import clean_title, exact_key, split_year

LINK_COLUMNS = ("link", "url")
"""Columns of a catalog file that may hold the address of an item's page."""

CHECKPOINT_CATALOG = "checkpoint"
"""The name of the catalog that a checkpoint was trained with."""


@dataclass(frozen=True)
class NamedCatalog:
    """Items to recommend from.

    Attributes:
        name: `catalog:films@3`, the path of a file, or CHECKPOINT_CATALOG.
        items: Columns item_id, title, year.
        links: Item id → the address of its page, for files with a column of LINK_COLUMNS.
    """

    name: str
    items: pl.DataFrame
    links: Mapping[str, str] = field(default_factory=dict)


def load_named_catalog(
    store: Store, checkpoint: str, catalog: str, config: Config, *, links: bool = False
) -> NamedCatalog:
    """The catalog called `catalog`; if that is empty, the one that the checkpoint has.

    The name of the newest version, as in `catalog:films`, becomes that of the version. Raises
    InputError for a catalog that does not exist or cannot be read.
    """
    columns = ("item_id", "title", "year")
    if not catalog:
        own = checkpoint_catalog(store, checkpoint)
        return NamedCatalog(CHECKPOINT_CATALOG, own.select(columns))
    name = pinned_name(store, catalog)
    file = catalog_path(name)
    items = load_configured_catalog(file, config)[0].select(columns)
    return NamedCatalog(name, items, _links(file, items, config) if links else {})


def pinned_name(store: Store, catalog: str) -> str:
    """`catalog:NAME` with the version that is the newest now; other names as they are."""
    name = parse_catalog_name(catalog)
    if name is None or name.version is not None:
        return catalog
    newest = newest_version(store, name.name)
    return f"{PREFIX}{name.name}@{newest.version}" if newest else catalog


def catalog_path(catalog: str | Path) -> Path:
    """The file of a catalog that is given as a path or by name."""
    name = parse_catalog_name(str(catalog))
    file = find_catalog_file(name) if name else Path(catalog)
    if file is None:
        raise InputError(
            f"there is no catalog {catalog}; `convrec catalog publish FILE` publishes one, and "
            "--catalog also takes a file"
        )
    return file


def _links(file: Path, items: pl.DataFrame, config: Config) -> dict[str, str]:
    """Item id → link, for rows whose link is an address on the web."""
    columns, rows = read_catalog_rows(file, config.ingest.column_names)
    named = {column.strip().lower(): column for column in columns}
    column = next((named[name] for name in LINK_COLUMNS if name in named), None)
    if column is None:
        return {}
    ids = {_title_key(title, year): item_id for item_id, title, year in items.iter_rows()}
    known = set(items["item_id"])
    found = {}
    for row in rows:
        link = str(row.values.get(column) or "").strip()
        item_id = str(row.values.get("item_id") or "").strip()
        if item_id not in known:
            item_id = ids.get(_title_key(row.values.get("title"), row.values.get("year")), "")
        if item_id and is_http_url(link):
            found[item_id] = link
    return found


def _title_key(title: Any, year: Any) -> tuple[str, str]:
    """A title and year as a file or an item has them, comparable with each other."""
    name = clean_title(str(title or ""))
    if year is None or str(year).strip() == "":
        name, found = split_year(name)
        year = found if found is not None else ""
    return exact_key(name), str(year).strip().removesuffix(".0")
