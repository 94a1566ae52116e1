"""Recommended lists as text: one item a line, "Title (year)", or "Title" without years."""

from __future__ import annotations

import re
from typing import NamedTuple

_YEAR = re.compile(r"^(?P<title>.*\S)\s*\((?P<year>\d{4})\)$")
_MARKER = re.compile(r"^\s*(?:(?:\d{1,3}[.)]|[-*•])\s+)?")


class Item(NamedTuple):
    """A title as written, and its year where one is given."""

    title: str
    year: int | None


def format_line(title: str, year: int | None) -> str:
    """The line of an item in a list."""
    return title if year is None else f"{title} ({year})"


def parse_line(line: str) -> Item | None:
    """Read one line exactly as `format_line` writes it; None for an empty line.

    Nothing is forgiven here: list markers and emphasis stay in the title, so that a model's
    format is judged as it is. `parse_answer` is the forgiving one, for teachers.
    """
    text = line.strip()
    if not text:
        return None
    found = _YEAR.match(text)
    return Item(found["title"], int(found["year"])) if found else Item(text, None)


def parse_answer(text: str) -> list[tuple[str, Item]]:
    """Read a chat model's list: (raw line, item) for each line that names something.

    Numbering, bullets, emphasis and surrounding quotes are taken off; a line that ends in a colon
    (an introduction) names nothing.
    """
    items = []
    for raw in text.splitlines():
        line = _MARKER.sub("", raw, count=1).strip().replace("**", "").strip("_ ").strip()
        if not line or line.endswith(":"):
            continue
        item = parse_line(line)
        if item is None:
            continue
        title = item.title.strip().strip('"“”').strip()
        if title:
            items.append((raw, Item(title, item.year)))
    return items
