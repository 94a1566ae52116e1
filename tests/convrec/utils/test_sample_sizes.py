"""Small samples are called small."""

from __future__ import annotations

import pytest

from convrec.utils.sample_sizes import few_demonstrations, few_test_posts


@pytest.mark.parametrize(
    ("count", "base", "words"),
    [
        (999, "tiny", "999 demonstrations are too few for model.base=tiny"),
        (1000, "tiny", ""),
        (19, "smollm2", "19 demonstrations teach the format of a list"),
        (20, "smollm2", ""),
        (0, "tiny", ""),
    ],
)
def test_few_demonstrations(count: int, base: str, words: str) -> None:
    text = few_demonstrations(count, base)
    assert text.startswith(words)
    assert bool(text) == bool(words)


@pytest.mark.parametrize(("count", "few"), [(0, False), (49, True), (50, False)])
def test_few_test_posts(count: int, few: bool) -> None:
    assert bool(few_test_posts(count)) == few
