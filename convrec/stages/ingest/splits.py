"""Assigns splits: no conversation is in two splits.

By date if the data has `created_utc` (as in the paper: train until 2022-10, validation 2022-11,
test from 2022-12; in a table, as the settings say), else by file name or column, else by a hash of
the dialogue or of the conversation's first turn.
"""

from __future__ import annotations

import hashlib
import re
from calendar import timegm
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "eval": "test",
    "evaluation": "test",
    "holdout": "test",
    "heldout": "test",
}
"""Words in file and folder names, and the splits that they name."""

_NEUTRAL_WORDS = frozenset({"set", "data", "split", "file", "of", "copy", "part", "shard", "final"})
"""Words next to the one of a split that change nothing about it."""

_COLLECTION = re.compile(r"(?<=..)(?:set|data|split|file)s?$")
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")


class SplitTimes(NamedTuple):
    """When the validation and the test split begin, in seconds since 1970 (UTC)."""

    validation_from: int
    test_from: int


REDDIT_TIMES = SplitTimes(timegm((2022, 11, 1, 0, 0, 0)), timegm((2022, 12, 1, 0, 0, 0)))
_UPPER_BOUNDS = (0.8, 0.9)


def split_of_name(name: str) -> str:
    """The split in names such as `train-00000-of-00002`, `test [1]` and `reddit.testset`, or empty.

    The first word decides. Without a split there, the name may have one split among its words.
    """
    first, *others = _words(name) or [""]
    found = {SPLIT_NAMES[word] for word in others if word in SPLIT_NAMES}
    return SPLIT_NAMES.get(first, "") or (found.pop() if len(found) == 1 else "")


def only_split_of_name(name: str) -> str:
    """The split of a name that says nothing else, such as `test (1)` or `Test set`, or empty."""
    words = [word for word in _words(name) if word not in _NEUTRAL_WORDS]
    return SPLIT_NAMES.get(words[0], "") if len(words) == 1 else ""


def _words(name: str) -> list[str]:
    """The words of a name, `test` for `testset`; splits joined by a plus are one unknown word."""
    words = re.findall(r"[^\W\d_]+(?:\+[^\W\d_]+)*", _CAMEL_CASE.sub(" ", name).lower())
    return [_COLLECTION.sub("", word) for word in words]


def split_by_time(created_utc: int, times: SplitTimes = REDDIT_TIMES) -> str:
    """The split of a post created at `created_utc` (seconds since 1970, UTC)."""
    if created_utc < times.validation_from:
        return "train"
    return "validation" if created_utc < times.test_from else "test"


def split_by_hash(keys: Iterable[str]) -> list[str]:
    """Split distinct keys 80/10/10 by hash, so that a key keeps its split when others are added.

    With three or more keys, no split is empty: an empty split gets the key with the highest hash of
    the largest split.
    """
    fractions = np.fromiter(map(_hash_fraction, keys), dtype=np.float64)
    numbers = np.searchsorted(_UPPER_BOUNDS, fractions, side="right")
    for number in range(len(SPLITS)) if len(fractions) >= len(SPLITS) else ():
        counts = np.bincount(numbers, minlength=len(SPLITS))
        if not counts[number]:
            largest = np.flatnonzero(numbers == counts.argmax())
            numbers[largest[fractions[largest].argmax()]] = number
    return [SPLITS[number] for number in numbers]


def _hash_fraction(key: str) -> float:
    """The hash of a key, scaled to [0, 1)."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48
