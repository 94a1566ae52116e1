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
from convrec.stages.ingest.samples import BadRowError
from convrec.titles.normalize import clean_text
from convrec.utils.file_content import data_suffix, is_compressed, is_parquet, text_lines

_PLAIN_SPLIT = re.compile(r"(?:train|val|valid|validation|dev|test)(?:[-._/]|$)", re.IGNORECASE)
_TITLE_COLUMNS = ("seen_titles", "groundtruth_with_release_year")
_SIGNS = (b"eleted", b"emoved", b"ELETED", b"EMOVED", b"&", b"%", b"\\u", b'"from"', b"}{", b"} {")
_USER, _ASSISTANT, _ROLE, _PROMPT = b'"user"', b'"assistant"', b'"role"', b'"prompt"'
_OTHER_FORM = re.compile(rb'"content"\s*:\s*[^"\s]|"prompt"\s*:\s*(?:\{|"(?:\s|\\n)*[\[{])')


def is_read_differently(files: Iterable[ConversationFile]) -> bool:
    """Whether any file has a name or a row that is read in another way than before."""
    files = list(files)
    return any(map(_is_named_newly, files)) or any(map(_has_new_rows, files))


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
    is_object = line.startswith(b"{") and line.rstrip().endswith(b"}") and line.isascii()
    if not is_object or any(sign in line for sign in _SIGNS) or line.count(_PROMPT) > 1:
        return True
    user, assistant = line.find(_USER), line.find(_ASSISTANT)
    has_other_roles = line.count(_ROLE) > 2 or (user < 0 <= line.find(_ROLE))
    has_other_turns = line.count(_USER) > 1 or line.count(_ASSISTANT) > 1 or -1 < assistant < user
    return has_other_roles or has_other_turns or bool(_OTHER_FORM.search(line))


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
        values = (entry.get("title"), entry.get("year")) if isinstance(entry, dict) else entry
        pair = (
            (values,)
            if isinstance(values, str)
            else tuple(values or ())
            if _is_list(values)
            else ()
        )
        if any(isinstance(text, str) and _is_cleaned(text) for text in pair[:1]):
            return True
        if not all(map(is_plain_year, pair[1:2])):
            return True
    return False


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


@lru_cache(maxsize=1 << 16)
def _is_cleaned(title: str) -> bool:
    return clean_text(title) != title
