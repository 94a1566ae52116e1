"""Who trains and who tests: no conversation stands in two splits.

By date where the data has `created_utc` (as in the paper: train up to 2022-10, validation 2022-11,
test from 2022-12), else by the names of the files, else by a hash of the conversation or dialogue.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from calendar import timegm
from collections import Counter
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


def split_by_hash(keys: Iterable[str]) -> dict[str, str]:
    """80/10/10 by the hash of each key, so a key keeps its split when others come and go.

    With three keys or more no split stays empty: it gets a key of the largest one, the one with
    the highest hash.
    """
    places = {key: _place(key) for key in keys}
    splits = {key: SPLITS[bisect_right(_SHARES, place)] for key, place in places.items()}
    for name in SPLITS if len(places) >= len(SPLITS) else ():
        counts = Counter(splits.values())
        if not counts[name]:
            largest = max(SPLITS, key=lambda split: counts[split])
            splits[max((k for k in splits if splits[k] == largest), key=places.__getitem__)] = name
    return splits


def _place(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48
