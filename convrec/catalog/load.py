"""Reads a catalog file into items and quarantined rows.

A catalog is CSV or Parquet with `title` and `year` (may be empty), optionally `item_id`, `aliases`
and `genres`, and any number of text columns, which are joined into `text`. A column that has only
web addresses is left out. `ingest.columns` maps other column names. An unusable row is quarantined
with its reason; an unusable file is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

import polars as pl

from convrec.catalog.csv_rows import read_csv_rows
from convrec.catalog.listed_titles import have_years
from convrec.catalog.rows import CatalogRow, CollectedItems, collect_items
from convrec.config import Config
from convrec.config.paths import is_http_url
from convrec.errors import CatalogError, InputError
from convrec.utils.arrow_files import read_table
from convrec.utils.file_content import data_suffix, is_parquet, reject_other_kinds

REQUIRED_COLUMNS = ("title", "year")
OPTIONAL_COLUMNS = ("item_id", "aliases", "genres")
SUFFIXES = (".csv", ".tsv", ".txt", "")
"""Endings of text files that may be catalogs, without the ending of a compression."""


def load_catalog(
    path: Path,
    names: Mapping[str, str] | None = None,
    *,
    years: bool = True,
    year_in_title: bool = False,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read a catalog file into (items, quarantine), with the columns of those artifact kinds.

    `names` maps convrec's column names to the file's. With `years=False` the year column is
    optional, as with `year_in_title`, which splits titles as MovieLens lists them. Raises
    CatalogError for a missing file, another file type, a missing column, or a file without a usable
    row, and InputError for a pickle, which is never loaded.
    """
    return read_catalog_file(path, names, years=years, year_in_title=year_in_title)[:2]


def load_configured_catalog(path: Path, config: Config | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read a catalog file as a configuration says; None is the default configuration."""
    return read_configured_catalog(path, config or Config())[:2]


def read_configured_catalog(path: Path, config: Config) -> CollectedItems:
    """Read a catalog file as a configuration says, and whether its reading is new."""
    return read_catalog_file(
        path,
        config.ingest.column_names,
        years=bool(config.recommend.years),
        year_in_title=config.ingest.year_in_title,
    )


def read_catalog_file(
    path: Path, names: Mapping[str, str] | None, *, years: bool, year_in_title: bool
) -> CollectedItems:
    """Read a catalog file. Raises CatalogError and InputError as `load_catalog` does."""
    columns, rows = read_catalog_rows(path, names)
    required = REQUIRED_COLUMNS[: 2 if years and not year_in_title else 1]
    missing = [name for name in required if name not in columns]
    if missing == ["year"] and have_years(row.values.get("title") for row in rows):
        raise CatalogError(
            f"{path} has no column year, but its titles end in the year; use "
            "ingest.year_in_title=true in the profile or with --set, or --year-in-title of "
            "`convrec catalog`, to split it off"
        )
    if missing:
        without = "" if "title" in missing else ", or set recommend.years=false for lists without"
        raise CatalogError(
            f"{path} has no column {' and no column '.join(missing)} (its columns: "
            f"{', '.join(filter(None, columns)) or 'none'}); a catalog needs title and year, and "
            "may have item_id, aliases, genres and text columns; set ingest.columns if the names "
            f"differ{without}"
        )
    texts, addresses = _text_columns(columns, rows)
    if addresses:  # texts once
        rows = [row._replace(is_new=True) for row in rows]
    return collect_items(rows, path.name, texts, str(path), year_in_title=year_in_title)


def read_catalog_rows(
    path: Path, names: Mapping[str, str] | None = None
) -> tuple[list[str], list[CatalogRow]]:
    """The columns of a catalog file, under convrec's names, and its raw rows.

    Raises CatalogError and InputError as `load_catalog` does.
    """
    reject_pickle(path)
    if _is_parquet(path):
        table = read_table(path)
        columns, rows = table.columns, list(map(CatalogRow, count(1), table.iter_rows(named=True)))
    else:
        file_name = (names or {}).get("title", "title")
        columns, rows = read_csv_rows(path, (file_name.strip().lower(),))
    if not names:
        return columns, rows
    new = _column_renames(columns, names, path)
    renamed = [row._replace(values={new[k]: v for k, v in row.values.items()}) for row in rows]
    return [new[column] for column in columns], renamed


def reject_pickle(path: Path) -> None:
    """Raise InputError if the file is a pickle by name or content, CatalogError if unreadable."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except FileNotFoundError:
        raise CatalogError(f"{path} does not exist; use a CSV or Parquet file") from None
    except IsADirectoryError:
        raise CatalogError(f"{path} is a folder; use a CSV or Parquet file") from None
    except OSError as error:
        raise CatalogError(f"{path} cannot be read ({error.strerror})") from None
    is_named_pickle = path.suffix.lower() in (".pkl", ".pickle")
    if is_named_pickle or (start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5")):
        raise InputError(
            f"{path} is a pickle, which can run arbitrary code when it is loaded, so it is "
            "refused; convert it to CSV, Parquet or JSONL in a throw-away environment without "
            "secrets or network access, and use that file"
        )


def _is_parquet(path: Path) -> bool:
    if is_parquet(path):
        return True
    reject_other_kinds(path, "CSV or Parquet")
    suffix = data_suffix(path.name)
    if suffix == ".parquet":
        raise CatalogError(f"{path} is not a Parquet file despite its name; write it again")
    if suffix not in SUFFIXES:
        raise CatalogError(f"{path} is not a catalog file; use CSV (.csv) or Parquet (.parquet)")
    return False


def _column_renames(columns: Sequence[str], names: Mapping[str, str], path: Path) -> dict[str, str]:
    """Maps each column of the file to convrec's name for it.

    `names` maps convrec's names to the file's. An unmapped column that has one of the mapped names
    gets another name and stays a text column. Raises CatalogError if the file lacks a mapped
    column.
    """
    renames = {file_name.strip().lower(): name for name, file_name in names.items()}
    keys = {column: column.strip().lower() for column in columns}
    for file_name, name in renames.items():
        if file_name not in keys.values():
            raise CatalogError(
                f"{path} has no column {file_name}, which ingest.columns maps to {name} (its "
                f"columns: {', '.join(columns) or 'none'}); correct ingest.columns or the file"
            )
    return {
        column: renames.get(key) or (f"file's {column}" if key in names else column)
        for column, key in keys.items()
    }


def _text_columns(
    columns: Sequence[str], rows: Sequence[CatalogRow]
) -> tuple[list[str], list[str]]:
    """The other columns that have letters in at least one row: texts, and web addresses alone."""
    others = [name for name in columns if name and name not in REQUIRED_COLUMNS + OPTIONAL_COLUMNS]
    texts: list[str] = []
    addresses: list[str] = []
    for name in others:
        values = [row.values.get(name) for row in rows]
        found = [v.strip() for v in values if isinstance(v, str) and any(map(str.isalpha, v))]
        if found:
            (addresses if all(map(is_http_url, found)) else texts).append(name)
    return texts, addresses
