"""Find the JSON values in the text of an answer: the whole text, or what stands between sentences.

Models write JSON as in a program: with trailing commas, comments, single quotes, names without
quotes, `+2` and typographic signs. All of that is read. What is cut or broken is not completed; of
a broken list the entries that are whole are found.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_FALSE_STARTS = 100
"""Brackets without a value after which no more is looked for; each may read the text to its end."""

MAX_CHARACTERS = 200_000
"""Longer texts are read as a whole or not at all."""

_SIGNS = str.maketrans(
    "“”„‟″«»‘’−–—‒－﹣＋：，｛｝［］　０１２３４５６７８９．",
    '"""""""\'\'------+:,{}[] 0123456789.',
) | dict.fromkeys(map(ord, "\u00a0\u2007\u2009\u202f"), " ")
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"))
_COMMENT = re.compile(r"(?<![:\"'])//[^\n\"]*|/\*[^*]{0,500}\*/|(?<=[,\s])#[^\n\"]*")
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_NAME = re.compile(r"([{,]\s*)([A-Za-z_]\w{0,30}|-?\d{1,6})(?=\s{0,9}:)")
_SINGLE_QUOTED = re.compile(r"'([^'\"\n]{0,200})'(?=\s{0,9}[:,}\]])")
_PLUS = re.compile(r"(?<=[\s:,\[])\+(?=\d)")
_SPACED_MINUS = re.compile(r"(?<=[\s:,\[])-[ \t]{1,3}(?=\d)")
_START = re.compile(r"[{\[]")


class DuplicateNameError(ValueError):
    """An object says two different things under one name."""


def json_values(text: str) -> list[Any]:
    """The outermost JSON values of a text, in order: the whole text, or those inside it.

    JSON within a JSON string is read, too. Raises DuplicateNameError.
    """
    if (whole := _whole_value(text)) is not None:
        return [whole]
    if len(text) > MAX_CHARACTERS:
        return []
    found, is_complete = _values_inside(text)
    if is_complete:
        return found
    text = _as_json(text)
    if (whole := _whole_value(text)) is not None:
        return [whole]
    more, _ = _values_inside(text)
    return max(found, more, key=lambda values: len(json.dumps(values)))


def _whole_value(text: str) -> Any:
    """The value that the whole text is; None if it is none."""
    try:
        return _inner(_decode(text))
    except DuplicateNameError:
        raise
    except (ValueError, RecursionError):
        return None


def _decode(text: str) -> Any:
    return _DECODER.decode(text.strip())


def _inner(value: Any, levels: int = 3) -> Any:
    """What JSON strings hold, if they are JSON."""
    if not (levels and isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"')):
        return value
    return _inner(_decode(value), levels - 1)


def _values_inside(text: str) -> tuple[list[Any], bool]:
    """(the values between sentences, whether every bracket outside of them begins one)."""
    values: list[Any] = []
    position, failed = 0, 0
    while start := _START.search(text, position):
        try:
            value, position = _DECODER.raw_decode(text, start.start())
            values.append(value)
        except DuplicateNameError:
            raise
        except (ValueError, RecursionError):
            position, failed = start.end(), failed + 1
        if failed == MAX_FALSE_STARTS:
            break
    return values, not failed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs) and any(names[name] != value for name, value in pairs):
        raise DuplicateNameError("an object says two different things under one name")
    return names


def _as_json(text: str) -> str:
    """The text with what JavaScript, Python and typography write as JSON writes it."""
    text = _COMMENT.sub("", text.translate(_SIGNS).translate(_INVISIBLE))
    if text.count('"') == text.count('\\"'):  # what a JSON string holds, without its quotes
        text = text.replace('\\"', '"')
    text = _SINGLE_QUOTED.sub(r'"\1"', text)
    text = _NAME.sub(r'\1"\2"', text)
    text = _SPACED_MINUS.sub("-", text)
    return _PLUS.sub("", _TRAILING_COMMA.sub(r"\1", text))


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, strict=False)
