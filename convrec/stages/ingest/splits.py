"""Who trains and who tests: no conversation stands in two splits.

By date where the data has `created_utc` (as in the paper: train up to 2022-10, validation 2022-11,
test from 2022-12), else by the names of the files, else by a hash of the conversation or dialogue.
"""

from __future__ import annotations

import hashlib
from calendar import timegm
from collections.abc import Iterable

SPLITS = ("train", "validation", "test")
_VALIDATION_FROM = timegm((2022, 11, 1, 0, 0, 0))
_TEST_FROM = timegm((2022, 12, 1, 0, 0, 0))
_SHARES = (0.8, 0.9)


def split_by_time(created_utc: int) -> str:
    """The split of a post of that second (UTC)."""
    if created_utc < _VALIDATION_FROM:
        return "train"
    return "validation" if created_utc < _TEST_FROM else "test"


def split_by_hash(keys: Iterable[str]) -> list[str]:
    """80/10/10 by the hash of each of different keys, so one keeps its split when others come.

    With three keys or more no split stays empty: it gets a key of the largest one, the one with
    the highest hash.
    """
    import numpy as np

    places = np.fromiter(map(_place, keys), dtype=np.float64)
    numbers = np.searchsorted(_SHARES, places, side="right")
    for number in range(len(SPLITS)) if len(places) >= len(SPLITS) else ():
        counts = np.bincount(numbers, minlength=len(SPLITS))
        if not counts[number]:
            largest = np.flatnonzero(numbers == counts.argmax())
            numbers[largest[places[largest].argmax()]] = number
    return [SPLITS[number] for number in numbers]


def _place(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48
