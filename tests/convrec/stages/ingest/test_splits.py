from __future__ import annotations

from calendar import timegm
from collections import Counter
from collections.abc import Iterable

from convrec.stages.ingest.splits import split_by_hash, split_by_time


def test_splits_use_the_months_of_the_paper() -> None:
    assert split_by_time(timegm((2012, 1, 1, 0, 0, 0))) == "train"
    assert split_by_time(timegm((2022, 11, 1, 0, 0, 0)) - 1) == "train"
    assert split_by_time(timegm((2022, 11, 1, 0, 0, 0))) == "validation"
    assert split_by_time(timegm((2022, 12, 1, 0, 0, 0)) - 1) == "validation"
    assert split_by_time(timegm((2022, 12, 1, 0, 0, 0))) == "test"


def by_hash(keys: Iterable[str]) -> dict[str, str]:
    keys = list(keys)
    return dict(zip(keys, split_by_hash(keys), strict=True))


def test_hash_splits_are_80_10_10_and_stable() -> None:
    few = by_hash(f"key {n}" for n in range(1000))
    many = by_hash(f"key {n}" for n in range(10_000))
    counts = Counter(many.values())
    assert 7800 < counts["train"] < 8200
    assert 850 < counts["validation"] < 1150
    assert all(many[key] == split for key, split in few.items())


def test_three_keys_fill_all_splits() -> None:
    for start in range(50):
        splits = by_hash(f"{start}-{n}" for n in range(3))
        assert sorted(splits.values()) == ["test", "train", "validation"]
    assert len(by_hash(["a", "b"])) == 2
    assert by_hash([]) == {}
