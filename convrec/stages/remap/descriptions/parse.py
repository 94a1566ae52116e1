"""Read a description from an answer of the LLM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from convrec.llm.answer import Answer
from convrec.llm.json_values import DuplicateNameError, json_values
from convrec.titles.normalize import clean_text

MAX_KEYWORDS, MAX_KEYWORD, MAX_PLOT = 20, 60, 1000
"""Keywords of a description, and characters of a keyword and of a plot; more is cut."""

NO_DESCRIPTION = "the answer has no JSON object with keywords or a plot"


class Description(NamedTuple):
    """Keywords and a plot; `known` is false if the model made them up from the title."""

    known: bool
    keywords: list[str]
    plot: str


def read_description(answer: Answer) -> tuple[Description | None, str]:
    """(description, ""), or (None, reason)."""
    if not answer.text:
        return None, answer.reason or NO_DESCRIPTION
    try:
        objects = list(_objects(json_values(answer.text)))
    except DuplicateNameError:
        objects = []
    for values in objects:
        keywords, plot = _keywords(values.get("keywords")), _text(values.get("plot"), MAX_PLOT)
        if keywords or plot:
            known = values.get("known", True)
            return Description(known not in (False, "false", "no", 0), keywords, plot), ""
    return None, answer.reason or NO_DESCRIPTION


def _objects(values: list[Any]) -> Iterator[dict[str, Any]]:
    for value in values:
        if isinstance(value, dict):
            yield {str(name).lower(): entry for name, entry in value.items()}
        elif isinstance(value, list):
            yield from _objects(value)


def _keywords(value: Any) -> list[str]:
    """Keywords from a list, or from text with commas between them."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list):
        return []
    words = [_text(part, MAX_KEYWORD) for part in parts]
    return list(dict.fromkeys(filter(None, words)))[:MAX_KEYWORDS]


def _text(value: Any, longest: int) -> str:
    """Text on one line, cut to `longest` characters."""
    if not isinstance(value, str):
        return ""
    text = "".join(c for c in clean_text(value) if c.isprintable() or c.isspace())
    return " ".join(text.split())[:longest].strip()
