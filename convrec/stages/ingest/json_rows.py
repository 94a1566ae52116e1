"""Rows in JSON text: JSON lines, lists, objects with a list, and objects one after the other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from convrec.errors import InputError
from convrec.stages.ingest.splits import split_of_name

LIST_KEYS = ("data", "rows", "conversations", "examples", "items", "records", "instances")
"""The key of an object's rows, if several of its values are lists."""

PROMPT = "prompt"
"""The key by which rows are recognized, unless a table names another; no row may repeat it."""

_BETWEEN = re.compile(r"[\s,\[\]\0]*")
_DECODER = json.JSONDecoder()


class JsonRow(NamedTuple):
    """A row: its value, or None with the `problem`, and the row as text."""

    value: Any
    problem: str
    text: str


def line_rows(data: bytes, key: str = PROMPT, *, is_first: bool) -> Iterator[JsonRow]:
    """The rows of a line of JSON: usually one, none for an empty line."""
    if not data.strip():
        return
    try:
        text = data.decode("utf-8-sig" if is_first else "utf-8").strip()
    except UnicodeDecodeError:
        yield JsonRow(None, "not UTF-8", data.decode(errors="replace").strip())
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if rows := objects_in_line(text):
            yield from rows
        else:
            yield JsonRow(None, f"not JSON ({str(error).split(': line')[0]})", text)
        return
    if is_list_of_rows(value, key):
        yield from (JsonRow(row, "", json.dumps(row)) for row in value)
    elif repeats_key(text, key):
        yield JsonRow(None, f"repeats the key {key}", text)
    else:
        yield JsonRow(value, "", text)


def begins_list(line: bytes, key: str = PROMPT) -> bool:
    """Whether a list of rows begins on a line, though the file is named as one of lines."""
    text = line.decode("utf-8-sig", errors="replace").strip()
    if not re.match(r"\[\s*(?:\{|$)", text):
        return False
    try:
        return is_list_of_rows(json.loads(text), key)
    except (ValueError, RecursionError):
        return True


def objects_in_line(text: str) -> list[JsonRow]:
    """The objects of a line that holds only objects and commas, else nothing."""
    rows, position = [], 0
    while (position := _skip(text, position)) < len(text):
        try:
            value, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            return []
        if not isinstance(value, dict):
            return []
        rows.append(JsonRow(value, "", text[position:end]))
        position = end
    return rows


def is_list_of_rows(value: Any, key: str = PROMPT) -> bool:
    """Whether a value is a list of objects with the key."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, dict) and key in row for row in value)
    )


def repeats_key(text: str, key: str = PROMPT) -> bool:
    """Whether the object in a JSON text has the key twice."""
    if text.count(f'"{key}"') < 2:
        return False
    found: list[bool] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found.append([name for name, _ in pairs].count(key) > 1)
        return dict(pairs)

    json.loads(text, object_pairs_hook=note)
    return found[-1]  # the outermost object is complete last


def document_rows(text: str) -> Iterator[JsonRow]:
    """The objects of a text that is not one JSON value: broken lists, objects without commas.

    After a broken object, reading goes on at the next one, which begins as the rows before it do.
    """
    position, start = 0, re.compile(r'\{\s*"')
    while (position := _skip(text, position)) < len(text):
        try:
            value, end = _DECODER.raw_decode(text, position)
            problem = ""
        except (ValueError, RecursionError) as error:
            value, problem = None, f"not JSON ({str(error).split(': line')[0]})"
            following = start.search(text, position + 1)
            end = following.start() if following else len(text)
        row = text[position:end]
        if isinstance(value, dict) and (first := re.match(r'\{\s*"(?:[^"\\]|\\.)*"', row)):
            start = re.compile(re.sub(r"\\?\s+", r"\\s*", re.escape(first[0])))
        yield JsonRow(value, problem, row.strip())
        position = end


def records(value: Any, where: str, key: str = PROMPT) -> list[tuple[str, list[Any]]]:
    """(split, rows) for the lists of rows in a JSON value; the split is empty if it names none.

    Raises InputError, naming `where`, if it is not clear which value has the rows.
    """
    if isinstance(value, list):
        return [("", value)]
    if not isinstance(value, dict):
        raise InputError(f"{where} has no rows but {str(value)[:40]!r}; give it a list of objects")
    if key in value:
        return [("", [value])]
    lists = {name: rows for name, rows in value.items() if _is_list_of_objects(rows)}
    splits = {name: rows for name, rows in lists.items() if split_of_name(name)}
    if splits:
        return [(split_of_name(name), rows) for name, rows in splits.items()]
    chosen = list(lists) if len(lists) == 1 else [name for name in LIST_KEYS if name in lists]
    if chosen:
        return [("", [_unwrapped(row, key) for row in lists[chosen[0]]])]
    if value and all(isinstance(row, dict) and key in row for row in value.values()):
        return [("", list(value.values()))]
    raise InputError(
        f"{where} is an object in which it is not clear where the rows are (its keys: "
        f"{', '.join(map(str, value))[:200] or 'none'}); use a list of objects, or one object per "
        "line"
    )


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _unwrapped(row: dict[str, Any], key: str) -> Any:
    """A row as the datasets viewer writes it is in the key `row`."""
    return row["row"] if isinstance(row.get("row"), dict) and key not in row else row


def _skip(text: str, position: int) -> int:
    found = _BETWEEN.match(text, position)
    return found.end() if found else position
