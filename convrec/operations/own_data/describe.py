"""What the user's files hold, once it is known which column is what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from convrec.config import resolve_path
from convrec.errors import InputError
from convrec.operations.own_data.guess import (
    guess_catalog_columns,
    guess_noun,
    guess_separator,
    guess_split_days,
    has_years_in_titles,
    title_keys,
)
from convrec.operations.own_data.peek import Peek, peek
from convrec.operations.own_data.profile_text import OwnData


class CatalogFacts(NamedTuple):
    """A catalog file, the columns that it has, and the keys of its titles.

    All are empty without a catalog file. `in_title` says that titles end in their year.
    """

    path: str = ""
    columns: Mapping[str, str] = {}
    titles: frozenset[str] = frozenset()
    in_title: bool = False


def describe_catalog(path: str) -> CatalogFacts:
    """The facts about a catalog file. Raises InputError if no column looks like a title."""
    if not path:
        return CatalogFacts()
    found = peek(resolve_path(path, "--catalog"))
    columns = guess_catalog_columns(found)
    if "title" not in columns:
        raise InputError(
            f"{path} has no column that looks like a title (its columns: "
            f"{', '.join(found.columns)}); rename one of them to title"
        )
    in_title = "year" not in columns and has_years_in_titles(found, columns["title"])
    return CatalogFacts(path, columns, title_keys(found.cells(columns["title"])), in_title)


def describe_data(
    name: str, path: str, found: Peek, columns: Mapping[str, str], catalog: CatalogFacts
) -> OwnData:
    """What the profile `name` says about conversations with these columns, and their catalog."""
    days = guess_split_days(found.cells(columns["date"])) if "date" in columns else None
    cells = found.cells(columns["ground_truth"])
    return OwnData(
        name=name,
        conversations=path,
        columns=columns,
        separator=guess_separator(cells, catalog.titles),
        are_lists=not any(isinstance(cell, str) for cell in cells),
        split_days=None if "split" in columns else days,
        catalog=catalog.path,
        catalog_columns=catalog.columns,
        years="year" in catalog.columns or catalog.in_title or not catalog.path,
        year_in_title=catalog.in_title,
        items=len(catalog.titles),
        noun=guess_noun(catalog.columns.get("title", columns["ground_truth"])),
    )
