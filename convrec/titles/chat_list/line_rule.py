"""The simple rule for lists: one title a line, with at most a number, a bullet, bold or quotes."""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import lru_cache
from typing import Protocol

from convrec.titles.chat_list.inline import split_sentence
from convrec.titles.title_year import TitleYear

_MARKER = re.compile(r"^\s*(?:(?:\d{1,3}[.)]|[-*•])\s+)?")


class ListForm(Hashable, Protocol):
    """What reading needs of a line format."""

    @property
    def is_default(self) -> bool:
        """Whether the form is "Title (year)"."""

    def parse(self, line: str) -> TitleYear | None:
        """The item of a line in this form."""


def read_lines(text: str, form: ListForm, default: ListForm) -> list[tuple[str, TitleYear]]:
    """(raw line, item) of each line that does not end in a colon.

    Numbers, bullets, bold and double quotes around a title are removed. A line that is in neither
    form is a title. A response of one line is split at its commas if that gives at least
    MIN_INLINE_TITLES pieces.
    """
    items = []
    for raw in split_sentence(text.strip()) or text.splitlines():
        line = line_content(_MARKER.sub("", raw, count=1))
        if line and not line.endswith(":") and (item := _parse_line(line, form, default)):
            items.append((raw, item))
    return items


def line_content(line: str) -> str:
    """A line without bold and underscores, for `ListForm.parse`."""
    return line.strip().replace("**", "").strip("_ ").strip()


@lru_cache(maxsize=1 << 16)  # popular items repeat the same lines
def _parse_line(line: str, form: ListForm, default: ListForm) -> TitleYear | None:
    """Read a line that may have an unrequested year, lack its year, or use the default format."""
    items = (item for item in (form.parse(line), default.parse(line)) if item)
    item = min(items, key=lambda item: item.year is None, default=None)  # the first with a year
    title = item.title.strip().strip('"“”').strip() if item else ""
    return TitleYear(title, item.year) if item and title else None
