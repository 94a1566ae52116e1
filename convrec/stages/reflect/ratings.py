"""Read the ratings in the text of one judge's answer.

Asked for is `{"ratings": [{"candidate": 1, "rating": 0}, ...]}`. Models that follow no schema write
the same ratings in other forms; each is read if it can mean one thing only. What is ambiguous,
incomplete or out of range is refused with a message for the judge.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from convrec.llm.json_values import json_values
from convrec.stages.reflect.rating_forms import (
    NOT_TWO_NUMBERS,
    NoRatingsError,
    Pair,
    is_bare,
    is_entry,
    read_pairs,
)

NOT_JSON = 'it is not a JSON object with "ratings"'


def read_ratings(text: str, count: int, scale: int) -> dict[int, int]:
    """Parse the text of an answer about `count` candidates: position (from 0) → rating.

    Raises ValueError, with a message for the judge, if the text holds no ratings or two different
    sets of them, has an unknown, repeated or missing candidate, or a rating that is no whole number
    from −scale to scale.
    """
    try:
        ratings = read_exact_ratings(text, count, scale)
    except ValueError as error:
        problem = str(error)
    else:
        if any(text.count(f'"{name}"') > len(ratings) for name in ("candidate", "rating")):
            json_values(text)  # the names of an object are not unique
        return ratings
    try:
        return _read_any_form(text, count, scale)
    except ValueError as error:
        raise ValueError(str(error) if problem == NOT_JSON else problem) from None


def read_exact_ratings(text: str, count: int, scale: int) -> dict[int, int]:
    """As `read_ratings`, of a text that is the requested JSON object and nothing else.

    Its messages are part of repair requests, and thereby of their keys.
    """
    try:
        entries = json.loads(text)["ratings"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise ValueError(NOT_JSON) from None
    if not isinstance(entries, list):
        raise ValueError('"ratings" is not a list')
    return _check(map(_exact_pair, entries), count, scale)


def _exact_pair(entry: object) -> Pair:
    values = entry if isinstance(entry, dict) else {}
    number, rating = values.get("candidate"), values.get("rating")
    if type(number) is not int or type(rating) is not int:
        raise ValueError(NOT_TWO_NUMBERS)
    return number, rating


def _check(pairs: Iterable[Pair], count: int, scale: int) -> dict[int, int]:
    ratings: dict[int, int] = {}
    for number, rating in pairs:
        if not 1 <= number <= count:
            raise ValueError(f"there is no candidate {number}; they go from 1 to {count}")
        if not -scale <= rating <= scale:
            raise ValueError(f"rating {rating} is not between -{scale} and {scale}")
        if number - 1 in ratings:
            raise ValueError(f"candidate {number} is rated twice")
        ratings[number - 1] = rating
    missing = [str(n + 1) for n in range(count) if n not in ratings]
    if missing:
        raise ValueError(f"candidates without a rating: {', '.join(missing[:10])}")
    return ratings


def _read_any_form(text: str, count: int, scale: int) -> dict[int, int]:
    values = json_values(text)
    entries = [value for value in values if is_entry(value)]
    if len(entries) > 1:  # one object a line, or the whole entries of a broken list
        values = [entries, *(value for value in values if not is_entry(value))]
    values = [value for value in values if not is_bare(value)] or _own_array(values, text)
    readings: list[dict[int, int]] = []
    problems: list[str] = []
    for value in values:
        try:
            readings.append(_check(read_pairs(value, count), count, scale))
        except NoRatingsError:
            continue
        except ValueError as error:
            problems.append(str(error))
    if not readings:
        raise ValueError(problems[0] if problems else NOT_JSON)
    if problems or any(reading != readings[0] for reading in readings):
        raise ValueError("it holds two different sets of ratings")
    return readings[0]


def _own_array(values: list[Any], text: str) -> list[Any]:
    """The array of numbers that a text begins or ends with; others may be part of a sentence."""
    text = text.strip("`\"' .\r\n")
    return values if len(values) == 1 and ("[" in text[:2] or text.endswith("]")) else []
