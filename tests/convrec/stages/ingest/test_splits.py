from __future__ import annotations

from calendar import timegm
from collections import Counter
from collections.abc import Iterable

import pytest

from convrec.stages.ingest.splits import (
    only_split_of_name,
    split_by_hash,
    split_by_time,
    split_of_name,
)


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


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("train [1]", "train"),
        ("train[1]", "train"),
        ("test (1)", "test"),
        ("test[0-9]", "test"),
        ("test1", "test"),
        ("test?", "test"),
        ("test*", "test"),
        ("Test set", "test"),
        ("train copy", "train"),
        ("train-copy (2)", "train"),
        ("train 2", "train"),
        ("trainset", "train"),
        ("TestSet", "test"),
        ("testdata", "test"),
        ("redditTest", "test"),
        ("reddit@test", "test"),
        ("valid#2", "validation"),
        ("dev,2022", "validation"),
        ("val=1", "validation"),
        ("{test}", "test"),
        ("'test'", "test"),
        ("test-00000-of-00002-a1b2c3", "test"),
        ("2022-test", "test"),
        ("testimonials", ""),
        ("contest", ""),
        ("latest", ""),
        ("trains", ""),
        ("validated", ""),
        ("developers", ""),
        ("retrain", ""),
        ("attest 1", ""),
        ("train+test", ""),
        ("dataset", ""),
        ("", ""),
        ("1", ""),
    ],
)
def test_a_name_names_its_split(name: str, split: str) -> None:
    assert split_of_name(name) == split


def test_a_split_with_another_word_is_not_only_a_split() -> None:
    only = ["test", "test (1)", "test [1]", "test copy", "Test_set", "test-00000-of-00001", "test?"]
    assert {only_split_of_name(name) for name in only} == {"test"}
    others = ["training_notes", "test_results", "reddit_test", "testimonials", "train.config", ""]
    assert {only_split_of_name(name) for name in others} == {""}
