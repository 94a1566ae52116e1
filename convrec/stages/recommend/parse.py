"""The list in an answer of the teacher, or why it has none."""

from __future__ import annotations

from convrec.config import Config
from convrec.llm.answer import Answer
from convrec.titles.line_format import TitleYear, parse_chat_list

ParsedList = list[tuple[str, TitleYear]]
"""(raw line, title and year) by rank."""

NO_ITEM = "the answer names no item"
"""The reason of an answer whose text has no list."""


def read_list(answer: Answer, config: Config) -> tuple[ParsedList, str]:
    """(the list in an answer, why there is none)."""
    if not answer.text:
        return [], answer.reason
    items = parse_chat_list(answer.text, config.llm_line_format, is_cut=answer.is_cut)
    return items[: config.list_length], "" if items else NO_ITEM
