"""Converts a catalog in a pickle, as the Rank-GRPO authors publish theirs, to CSV.

The pickle is read by `pickle_reader` in a process of its own, without secrets in its environment,
and never loaded. Catalogs are recognized in these shapes:

- a list or set of titles: "Heat (1995)" or "Heat"
- a list or set of (title, year) or {"title": ..., "year": ...}: the shape of the published file
- a dictionary of titles and years, of titles and ids, or of ids and any of the above
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from convrec.catalog import pickle_reader
from convrec.errors import CatalogError, InputError
from convrec.titles.normalize import is_plausible_year
from convrec.utils.files import atomic_path

MAX_BYTES = 100_000_000
TIMEOUT = 2 * pickle_reader.SECONDS

_MOSTLY = 0.9
"""Share of the values of a dictionary that have to be years for it to be one of years."""

_DATED = re.compile(r"(?P<title>.*\S)\s*\((?P<year>\d{4})\)\s*", re.DOTALL)
_YEAR = re.compile(r"\d{1,4}(?:\.0)?")
_SHAPES = (
    "a list or set of titles, of (title, year) pairs or of {'title': ..., 'year': ...}, or a "
    "dictionary of titles and years or of ids and titles"
)


class CatalogEntry(NamedTuple):
    """A row of the CSV file; an unknown year or id is empty."""

    title: str
    year: str
    item_id: str


class PickleImport(NamedTuple):
    """What was converted. `skipped` maps a reason to the number of entries left out for it."""

    rows: int
    with_year: int
    with_id: int
    skipped: dict[str, int]


def import_pickle(file: Path, out: Path) -> PickleImport:
    """Write the catalog in the pickle `file` to the CSV file `out`, which must not exist.

    Raises InputError for a pickle that holds more than plain data, one of another shape, and a path
    that cannot be written.
    """
    if out.exists() or out.suffix.lower() != ".csv":
        reason = "exists" if out.exists() else "does not end in .csv"
        raise InputError(f"{out} {reason}; give the path of a new .csv file")
    skipped: Counter[str] = Counter()
    rows: dict[CatalogEntry, None] = {}
    for entry in _entries(_read_value(file), file):
        if isinstance(entry, str):
            skipped[entry] += 1
        elif entry in rows:
            skipped["repeats an entry"] += 1
        else:
            rows[entry] = None
    if not rows:
        raise CatalogError(f"{file} holds no title; a catalog is {_SHAPES}")
    _write_csv(list(rows), out)
    dated, named = sum(bool(row.year) for row in rows), sum(bool(row.item_id) for row in rows)
    return PickleImport(len(rows), dated, named, dict(skipped))


def _read_value(file: Path) -> Any:
    """The value in a pickle, as `pickle_reader` writes it. Raises InputError."""
    try:
        size = file.stat().st_size
        file.open("rb").close()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror})") from None
    if size > MAX_BYTES:
        raise InputError(f"{file} has {size:,} bytes; a catalog has at most {MAX_BYTES:,}")
    command = [sys.executable, "-I", "-S", pickle_reader.__file__, str(file.resolve())]
    with tempfile.TemporaryFile() as output:
        try:
            code = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                env={"LC_ALL": "C.UTF-8"},
                cwd="/",
                timeout=TIMEOUT,
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
        output.seek(0)
        text = output.read()
    result = (
        json.loads(text)
        if code == 0
        else {"refused": "takes too much time or memory, or is nested too deeply"}
    )
    if "refused" in result:
        raise InputError(
            f"{file} {str(result['refused'])[:300]}, so it is refused, and nothing in it was run; "
            "write the catalog as CSV, or as a pickle of lists, tuples, text and numbers"
        )
    return result["value"]


def _entries(value: Any, file: Path) -> Iterator[CatalogEntry | str]:
    """The entries of a catalog; text is the reason why one is left out."""
    if isinstance(value, list):
        yield from map(_entry, value)
    elif isinstance(value, dict):
        yield from _dictionary_entries(value["pairs"], file)
    else:
        kind = type(value).__name__
        raise InputError(f"{file} holds {kind} instead of a catalog; a catalog is {_SHAPES}")


def _entry(value: Any, item_id: str = "") -> CatalogEntry | str:
    """A title, a pair of title and year, or a dictionary with both."""
    if isinstance(value, dict):
        fields = {str(key): field for key, field in value["pairs"]}
        item_id = item_id or _text(fields.get("item_id", fields.get("id")))
        value = [fields.get("title"), fields.get("year")]
    title, year = value if isinstance(value, list) and len(value) == 2 else (value, None)
    if isinstance(title, list) and len(title) == 1:
        title = title[0]
    if not isinstance(title, str) or not title.strip():
        return "is no title, and no pair of title and year"
    if isinstance(year, list | dict):
        return "has a year that is no number"
    found = _DATED.fullmatch(title) if year in (None, "") else None
    if found:
        title, year = found["title"], found["year"]
    return CatalogEntry(" ".join(title.split()), _text(year), item_id)


def _dictionary_entries(pairs: list[list[Any]], file: Path) -> Iterator[CatalogEntry | str]:
    """The entries of a dictionary, by what its keys and values look like."""
    values = [value for _, value in pairs]
    years = [year for value in values for year in _as_list(value)]
    if sum(map(_is_year, years)) >= _MOSTLY * len(years):
        for title, given in pairs:
            yield from (_entry([title, year]) for year in _as_list(given) or [None])
    elif all(isinstance(key, list) for key, _ in pairs):
        yield from (_entry(key, _text(value)) for key, value in pairs)
    elif not all(isinstance(value, str | int | float) for value in values):
        yield from (_entry(value, _text(key)) for key, value in pairs)
    else:
        side = _title_side(pairs, file)
        yield from (_entry(pair[side], _text(pair[1 - side])) for pair in pairs)


def _title_side(pairs: list[list[Any]], file: Path) -> int:
    """Whether the keys (0) or the values (1) of a dictionary of scalars are the titles."""
    scores = [
        sum(isinstance(pair[side], str) and bool(_DATED.fullmatch(pair[side])) for pair in pairs)
        for side in (0, 1)
    ]
    if scores[0] == scores[1]:  # ids have no spaces
        scores = [sum(" " in str(pair[side]).strip() for pair in pairs) for side in (0, 1)]
    if scores[0] == scores[1]:
        raise InputError(
            f"{file} is a dictionary of which neither keys nor values look like titles; a catalog "
            f"is {_SHAPES}"
        )
    return int(scores[1] > scores[0])


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_year(value: Any) -> bool:
    """Whether a value is a year, or says that there is none."""
    if value is None or value == "":
        return True
    is_number = isinstance(value, int | float | str) and _YEAR.fullmatch(str(value))
    return bool(is_number) and is_plausible_year(int(float(value)))


def _text(value: Any) -> str:
    """A scalar as a field of the CSV file: 1995.0 is 1995."""
    if value is None or isinstance(value, list | dict):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _write_csv(rows: list[CatalogEntry], out: Path) -> None:
    columns = 3 if any(row.item_id for row in rows) else 2
    try:
        with atomic_path(out) as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(CatalogEntry._fields[:columns])
            writer.writerows(row[:columns] for row in rows)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}); give another path") from None
