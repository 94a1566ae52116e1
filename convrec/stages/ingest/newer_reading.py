"""Whether files of conversations are read differently than before a reading was added.

An artifact of such files has another id. All other files keep the id that they always had. Most
lines have no sign of a newer reading and are not parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from convrec.catalog.years import is_plain_year
from convrec.stages.ingest.chat import is_deleted, is_plain, read_prompt
from convrec.stages.ingest.json_rows import begins_list, line_rows
from convrec.stages.ingest.raw_rows import ConversationFile, read_raw_rows
from convrec.stages.ingest.samples import TURN_START, BadRowError, is_continuation
from convrec.titles.normalize import clean_text, clean_title
from convrec.utils.file_content import data_suffix, is_compressed, is_parquet, text_lines

_PLAIN_SPLIT = re.compile(r"(?:train|val|valid|validation|dev|test)(?:[-._/]|$)", re.IGNORECASE)
_TITLE_COLUMNS = ("seen_titles", "groundtruth_with_release_year")
_TITLE_KEYS = tuple(f'"{name}"'.encode() for name in _TITLE_COLUMNS)
_SIGNS = (b"eleted", b"emoved", b'"from"', b"}{", b"} {")
_WIDE_SIGNS = frozenset("\uff08\uff3b\u3010\u3014\u300a\u3008\u300c\u300e")
"""What `clean_title` looks for besides `clean_text`."""

_TURN = re.compile(rf"\\n{TURN_START}".encode(), re.IGNORECASE)
"""The beginning of a later turn in a text as JSON."""

_ROLE, _USER, _ASSISTANT, _PROMPT = b'"role"', b'"user"', b'"assistant"', b'"prompt"'
_PARTS = re.compile(rb'"content"\s*:\s*[^"\s]')
_PROMPT_FORM = re.compile(rb'"prompt"\s*:\s*(?:\{|"(?:\s|\\n)*[\[{])')
_TITLE_FORM = re.compile(
    rb'"(?:(?:seen_titles|groundtruth_with_release_year)"\s*:\s*"'
    rb'|\s*(?:[(\[]\s*\d{4}|\d{4}-\d|(?:na|n/a|nan|null|none|nat|\\\\n|-|\?|unknown)\s*"))',
    re.IGNORECASE,
)
"""Lists as text, and years in brackets, as dates or words."""


def is_read_differently(files: Iterable[ConversationFile]) -> bool:
    """Whether any file has a name or a row that is read in another way than before."""
    files = list(files)
    return (
        any(map(_is_named_newly, files))
        or any(map(_has_new_rows, files))
        or (all(file.split in ("", "train") for file in files) and any(map(_has_threads, files)))
    )


def _is_named_newly(file: ConversationFile) -> bool:
    """Whether the name of a file names a split only by the newer rules."""
    return bool(file.split) and not _PLAIN_SPLIT.match(file.source)


def _has_new_rows(file: ConversationFile) -> bool:
    if data_suffix(file.path.name) == ".arrow" or is_parquet(file.path):
        return any(_is_new(row.value) for row in read_raw_rows(file))
    if file.path.suffix.lower() != ".jsonl" or is_compressed(file.path):
        return False  # no earlier version could read it
    with text_lines(file.path) as lines:
        return any(_is_new_line(line, number == 0) for number, line in enumerate(lines))


def _has_threads(file: ConversationFile) -> bool:
    """Whether a file without a split has a conversation of several turns and without a date."""
    if data_suffix(file.path.name) == ".arrow" or is_parquet(file.path):
        return any(_is_undated_thread(row.value) for row in read_raw_rows(file))
    if file.path.suffix.lower() != ".jsonl" or is_compressed(file.path):
        return False  # no earlier version could read it
    with text_lines(file.path) as lines:
        return any(
            _is_undated_thread(row.value)
            for number, line in enumerate(lines)
            if _TURN.search(line)
            for row in line_rows(line, is_first=number == 0)
        )


def _is_undated_thread(row: Any) -> bool:
    if not isinstance(row, dict) or row.get("created_utc") not in (None, ""):
        return False
    try:
        return is_continuation(read_prompt(row.get("prompt")).conversation)
    except BadRowError:
        return False


def _is_new_line(line: bytes, is_first: bool) -> bool:
    """Whether a line has a row that is read differently."""
    if not _may_be_new(line):
        return False
    if is_first and begins_list(line):
        return True
    rows = list(line_rows(line, is_first=is_first))
    if any(row.problem.startswith("repeats the key") for row in rows):
        return True
    is_one = len(rows) <= 1 and line.rstrip()[-1:] in (b"}", b"")
    return any(_is_new(row.value) or not (is_one or row.problem) for row in rows)


def _may_be_new(line: bytes) -> bool:
    """Whether a line has to be parsed to know whether it is read differently."""
    if not line.startswith(b"{") or not line.rstrip().endswith(b"}"):
        return True
    if any(sign in line for sign in _SIGNS) or line.count(_PROMPT) > 1:
        return True
    user, assistant, role = line.find(_USER), line.find(_ASSISTANT), line.find(_ROLE)
    if user < 0 <= role or -1 < assistant < user or line.count(_ROLE) > 2:
        return True
    if line.count(_USER) > 1 or line.count(_ASSISTANT) > 1:
        return True
    if _PARTS.search(line) or _PROMPT_FORM.search(line):
        return True
    return _may_have_new_titles(line[min(line.find(name) for name in _TITLE_KEYS) :])


def _may_have_new_titles(end: bytes) -> bool:
    """Whether the end of a line, from the first list of titles on, has to be parsed."""
    if b"%" in end or b"\\u" in end or b".0)" in end or _TITLE_FORM.search(end):
        return True
    text = end.decode(errors="replace")
    return clean_text(text) != text or not _WIDE_SIGNS.isdisjoint(text)


def _is_new(row: Any) -> bool:
    """Whether earlier versions of convrec read a row differently."""
    if not isinstance(row, dict):
        return False
    if not is_plain(row.get("prompt"), "user") or not is_plain(row.get("completion"), "assistant"):
        return True
    if any(_is_new_list(row.get(column)) for column in _TITLE_COLUMNS):
        return True
    dialogue = row.get("input")
    if isinstance(dialogue, str) and is_deleted(dialogue):
        return True
    try:
        read_prompt(row.get("prompt"))
    except BadRowError as error:
        return "deleted" in str(error)
    return False


def _is_new_list(titles: Any) -> bool:
    """Whether a list of titles has one that is cleaned now, or a year in a newer form."""
    if not isinstance(titles, list | tuple):
        return isinstance(titles, str)
    for entry in titles:
        if isinstance(entry, dict):
            entry = (entry.get("title"), entry.get("year"))
        title, year = (entry, None) if isinstance(entry, str) else _pair(entry)
        if (isinstance(title, str) and _is_cleaned(title)) or not is_plain_year(year):
            return True
    return False


def _pair(entry: Any) -> tuple[Any, Any]:
    """The first two values of an entry, or nothing of another kind."""
    values = [*entry, None, None] if isinstance(entry, list | tuple) else [None, None]
    return values[0], values[1]


@lru_cache(maxsize=1 << 16)
def _is_cleaned(title: str) -> bool:
    return clean_title(title) != title
