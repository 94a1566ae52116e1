"""Rows of lists to score, read from JSONL: the usable ones, and the bad ones with the reason.

A row holds `completion` (text, or chat messages of which the last by the assistant counts),
`seen_titles` (titles, or [title, year] pairs) and `groundtruth_with_release_year` ([title, year]
pairs, the year a number, a string or null). Other columns are ignored, except `context_id`: rows
that share one are resampled together.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from convrec.errors import InputError
from convrec.metrics.registry import ListToScore, Protocol
from convrec.metrics.relevance import Titled
from convrec.titles.line_format import parse_line


class BadRow(NamedTuple):
    """A row that could not be scored: its line in the file, from 1, and why."""

    line: int
    reason: str


class ScoreRow(NamedTuple):
    """A usable row: its line in the file, what it is resampled with, and the list."""

    line: int
    context: str
    asked: ListToScore


def read_rows(path: Path, protocol: Protocol, bad: list[BadRow]) -> Iterator[ScoreRow]:
    """The usable rows of the file; the others go to `bad`."""
    if not path.is_file():
        raise InputError(f"{path} is not a file; give a JSONL file, one list a line")
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    yield _read_row(number, line, protocol)
                except ValueError as error:
                    bad.append(BadRow(number, str(error)))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None


def _read_row(number: int, line: bytes, protocol: Protocol) -> ScoreRow:
    """One row, or ValueError with the reason."""
    try:
        row = json.loads(line.removeprefix(BOM_UTF8).decode())
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at column {error.colno})") from None
    except RecursionError:
        raise ValueError("JSON nested too deep") from None
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    needed = ("completion", "seen_titles", "groundtruth_with_release_year")
    missing = [name for name in needed if name not in row]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)}")
    truths = [_titled(x, "groundtruth_with_release_year") for x in _list(row, needed[2])]
    if not truths:
        raise ValueError("groundtruth_with_release_year is empty, so there is nothing to find")
    seen = [_seen(x, protocol) for x in _list(row, needed[1])]
    context = row.get("context_id")
    return ScoreRow(
        number,
        f"line {number}" if context is None else f"context {context}",
        ListToScore(_text(row["completion"]), seen, truths),
    )


def _text(completion: Any) -> str:
    """The text of a completion given as a string or as chat messages."""
    if isinstance(completion, str):
        return completion
    messages = [completion] if isinstance(completion, dict) else completion
    if isinstance(messages, list) and all(isinstance(m, dict) for m in messages):
        said = [m.get("content") for m in messages if m.get("role", "assistant") == "assistant"]
        if said and isinstance(said[-1], str):
            return said[-1]
    raise ValueError("completion is neither a string nor chat messages with an assistant's text")


def _list(row: dict[str, Any], name: str) -> list[Any]:
    value = row[name]
    if not isinstance(value, list):
        raise ValueError(f"{name} is not a list")
    return value


def _seen(value: Any, protocol: Protocol) -> Titled:
    """A seen title; the published code compares the text as it stands."""
    if not isinstance(value, str):
        return _titled(value, "seen_titles")
    return _read_seen(value) if protocol != "reference" else (value, None)


@lru_cache(maxsize=1 << 16)
def _read_seen(text: str) -> Titled:
    return parse_line(text) or (text, None)


def _titled(value: Any, name: str) -> Titled:
    if isinstance(value, dict):
        value = [value.get("title"), value.get("year")]
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)):
        raise ValueError(f"{name} holds {value!r:.60}, not a [title, year] pair")
    title, year = value
    if year is None or year == "":
        return title, None
    try:
        return title, int(year)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} gives the year {year!r:.20} of {title!r:.60}") from None
