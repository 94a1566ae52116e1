"""The forms in which a judge's JSON may hold ratings: pairs of a candidate and its rating.

A list of entries; of numbers in the order shown; of couples. An object by candidate; with two
lists; with one of these inside. Names and numbers are read as models write them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convrec.llm.json_values import json_values

NOT_TWO_NUMBERS = "an entry is no object of two whole numbers, candidate and rating"

_CANDIDATE_NAMES = (
    *("candidate", "candidateid", "candidatenumber", "candidateno", "candidateindex"),
    *("id", "index", "number", "no", "nr", "#", "n", "item", "itemid", "itemnumber"),
)
_RATING_NAMES = ("rating", "score", "value", "ratingvalue", "grade", "relevance", "r")
"""Names of an entry's two numbers without spaces, `_` and `-`; the first that is there counts."""

_COMMENT_NAMES = ("reason", "reasoning", "explanation", "comment", "note", "justification")
_NUMBER = re.compile(r"([+-]?\d{1,9})(?:\.0*)?")
_CANDIDATE = re.compile(
    r"(?:candidate|item|option|c|no\.?|nr\.?|#)?[\s_#(\[-]{0,3}(\d{1,6})(?:[.)\]:].*)?",
    re.IGNORECASE | re.DOTALL,
)
_JSON_START = re.compile(r"[\s`~]{0,20}(?:json)?\s{0,9}[{\[\"]", re.IGNORECASE)
_MINUS = str.maketrans("−–—‒", "----")
_WITHOUT_JOINTS = str.maketrans("", "", " _-")

Pair = tuple[int, int]
"""Candidate (from 1) and rating."""


class NoRatingsError(ValueError):
    """A JSON value that is something else than ratings."""


def read_pairs(value: object, count: int) -> list[Pair]:
    """The ratings in a value. Raises NoRatingsError if it is something else."""
    if isinstance(value, list):
        return _list_pairs(value, count)
    if isinstance(value, dict):
        return _object_pairs(value, count)
    raise NoRatingsError


def _list_pairs(items: list[Any], count: int) -> list[Pair]:
    if not items:
        raise NoRatingsError
    if len(items) == 1 and isinstance(items[0], list) and len(items[0]) == count:
        return _list_pairs(items[0], count)
    if all(isinstance(item, dict) for item in items):
        if len(items) == 1 and not is_entry(items[0]):
            return _object_pairs(items[0], count)
        if all(len(item) == 1 and _candidate(next(iter(item))) for item in items):
            return [pair for item in items for pair in _keyed_pairs(item)]
        if not all(map(_is_bare_rating, items)):
            return [_entry_pair(item) for item in items]
        items = [_find_number(item, _RATING_NAMES, _whole) for item in items]
    if all(isinstance(item, list) and len(item) == 2 for item in items):
        return _couples(items)
    ratings = list(map(_number, items))
    if len(ratings) != count:
        raise ValueError(f"it has {len(ratings)} ratings without candidates; there are {count}")
    return list(enumerate(ratings, start=1))


def _couples(items: list[list[Any]]) -> list[Pair]:
    """Lists of a candidate and a rating, if the second numbers cannot be the candidates."""
    pairs = [(_number(first), _number(second)) for first, second in items]
    firsts, seconds = map(set, zip(*pairs, strict=True))
    numbers = set(range(1, len(items) + 1))
    if firsts != numbers or seconds == numbers:
        raise ValueError(NOT_TWO_NUMBERS)
    return pairs


def _object_pairs(value: dict[str, Any], count: int) -> list[Pair]:
    if is_entry(value):
        if count > 1:  # an example of the form
            raise NoRatingsError
        return [_entry_pair(value)]
    names = {_plain(name): inner for name, inner in value.items()}
    if "ratings" in names:
        return _parallel_pairs(names) or read_pairs(_unquoted(names["ratings"]), count)
    if any(map(_candidate, value)):
        return _keyed_pairs(value)
    inside = [inner for inner in map(_unquoted, value.values()) if isinstance(inner, (dict, list))]
    if len(inside) > 1:  # such as ratings and their reasons
        inside = [inner for inner in inside if not _is_text_list(inner)]
    if len(inside) != 1:
        raise NoRatingsError
    return read_pairs(inside[0], count)


def _is_text_list(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, str) and _whole(item) is None for item in value
    )


def is_bare(value: object) -> bool:
    """Whether a value has no object and no list in it."""
    return not isinstance(value, dict) and not (
        isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value)
    )


def _parallel_pairs(names: Mapping[str, Any]) -> list[Pair]:
    """Ratings in one list and their candidates in another; empty without the second list."""
    ratings = names["ratings"]
    candidates = next((names[f"{name}s"] for name in _CANDIDATE_NAMES if f"{name}s" in names), None)
    if not (isinstance(ratings, list) and isinstance(candidates, list) and is_bare(ratings)):
        return []
    pairs = [
        (number, rating)
        for number, rating in zip(map(_candidate, candidates), map(_whole, ratings), strict=False)
        if number is not None and rating is not None
    ]
    if not len(candidates) == len(ratings) == len(pairs):
        raise ValueError("its candidates and its ratings are lists that do not match")
    return pairs


def _keyed_pairs(value: dict[str, Any]) -> list[Pair]:
    """Ratings by candidate; comments between them are skipped."""
    pairs: list[Pair] = []
    for name, inner in value.items():
        number = _candidate(name)
        if number is None:
            if _whole(inner) is None and not isinstance(inner, (dict, list)):
                continue
            raise ValueError(f"there is no candidate {name!r}")
        if isinstance(inner, dict):
            inner = _find_number(inner, _RATING_NAMES, _whole)
        pairs.append((number, _number(inner)))
    return pairs


def _unquoted(value: object) -> object:
    """A value, or the one that a JSON string holds, perhaps in a code fence."""
    if not isinstance(value, str) or not _JSON_START.match(value):
        return value
    values = json_values(value)
    return values[0] if len(values) == 1 else value


# -- entries -----------------------------------------------------------------------------------


def is_entry(value: object) -> bool:
    """Whether a value is one candidate with its rating."""
    names = set(map(_plain, value)) if isinstance(value, dict) else set()
    return not names.isdisjoint(_CANDIDATE_NAMES) and not names.isdisjoint(_RATING_NAMES)


def _is_bare_rating(value: dict[str, Any]) -> bool:
    """Whether an object has a rating and says nothing of what is rated."""
    names = set(map(_plain, value))
    return not names.isdisjoint(_RATING_NAMES) and names <= {*_RATING_NAMES, *_COMMENT_NAMES}


def _entry_pair(value: dict[str, Any]) -> Pair:
    number = _find_number(value, _CANDIDATE_NAMES, _candidate)
    rating = _find_number(value, _RATING_NAMES, _whole)
    if number is None or rating is None:
        raise ValueError(NOT_TWO_NUMBERS)
    return number, rating


def _find_number(
    value: dict[str, Any], names: Sequence[str], read: Callable[[object], int | None]
) -> int | None:
    """The number under the first of `names`, or under the others if they agree on one."""
    numbers: dict[str, set[int]] = {}
    for name, inner in value.items():
        if (plain := _plain(name)) in names and (number := read(inner)) is not None:
            numbers.setdefault(plain, set()).add(number)
        elif plain == names[0] and read is _whole:
            return None  # a rating that is no whole number, whatever else there is
    found = numbers.get(names[0]) or set().union(*numbers.values())
    return found.pop() if len(found) == 1 else None


def _plain(name: str) -> str:
    return name.strip().casefold().translate(_WITHOUT_JOINTS)


def _candidate(value: object) -> int | None:
    """The number of a candidate: 1, "1", "Candidate 1", "1. Heat (1995)"; None if it is none."""
    if (number := _whole(value)) is not None:
        return number
    match = _CANDIDATE.fullmatch(value.strip()) if isinstance(value, str) else None
    return int(match[1]) if match else None


def _number(value: object) -> int:
    """As `_whole`. Raises ValueError if it is none."""
    if (number := _whole(value)) is None:
        raise ValueError(NOT_TWO_NUMBERS)
    return number


def _whole(value: object) -> int | None:
    """2, 2.0, "2", "+2" and "−2" as an integer; None for anything else."""
    if isinstance(value, str):
        text = unicodedata.normalize("NFKC", value[:40]).translate(_MINUS).strip()
        match = _NUMBER.fullmatch(text) if len(value) <= 40 else None
        return int(match[1]) if match else None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e9 else None
    return value if type(value) is int else None
