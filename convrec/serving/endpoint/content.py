"""A list as text or as JSON, whole or in pieces."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from convrec.serving.endpoint.engine import ListAnswer, RankedItem


class TextPieces:
    """A list as text, one line per item, in pieces."""

    start = ""

    def __init__(self) -> None:
        self._count = 0

    def item(self, item: RankedItem) -> str:
        """The piece of an item."""
        self._count += 1
        return item.line if self._count == 1 else f"\n{item.line}"

    def end(self, answer: ListAnswer) -> str:
        """What follows the items."""
        return ""


class JsonPieces(TextPieces):
    """A list as a JSON object, in pieces."""

    start = '{"items": ['

    def item(self, item: RankedItem) -> str:
        """The piece of an item."""
        self._count += 1
        text = json.dumps(asdict(item), ensure_ascii=False)
        return text if self._count == 1 else f", {text}"

    def end(self, answer: ListAnswer) -> str:
        """What follows the items."""
        return f"], {json.dumps(facts(answer), ensure_ascii=False)[1:]}"


def plain_text(answer: ListAnswer) -> str:
    """A list as text, one line per item, best first."""
    return "\n".join(item.line for item in answer.items)


def json_text(answer: ListAnswer) -> str:
    """A list as a JSON object: items, and how the conversation was understood."""
    pieces = JsonPieces()
    return "".join([pieces.start, *map(pieces.item, answer.items), pieces.end(answer)])


def facts(answer: ListAnswer) -> dict[str, Any]:
    """How the conversation was understood, and the catalog that the list is from."""
    return {
        "seen": answer.seen,
        "unknown_words": answer.unknown_words,
        "catalog": answer.catalog,
    }


def usage(answer: ListAnswer) -> dict[str, int]:
    """The counts of tokens."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
