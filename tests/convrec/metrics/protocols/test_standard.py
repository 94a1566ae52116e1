"""The `standard` protocol and list quality: worked examples."""

from __future__ import annotations

import math

import pytest

from convrec.metrics.protocols.standard import match_standard
from convrec.metrics.registry import all_metrics
from convrec.metrics.scored_lists import ListToScore
from convrec.titles.index import TitleIndex

INDEX = TitleIndex([("a", "Alien", 1979), ("h", "Heat", 1995), ("b", "Brazil", 1985)])
PLAIN = TitleIndex([("a", "Alien", None)])


def metrics_of(
    text: str, *, n: int = 4, seen: tuple = (), truth: tuple = (("Brazil", 1985),)
) -> dict:
    batch = match_standard([ListToScore(text, seen, truth)], INDEX, n=n)
    return {name: float(values[0]) for name, values in all_metrics(batch).items()}


def test_misses_keep_their_position() -> None:
    found = metrics_of("Alien (1979)\n\nNo Such Film (2000)\nBrazil (1985)")
    assert found["recall@5"] == 1
    assert found["ndcg@5"] == pytest.approx(1 / math.log2(5))
    assert found["hit_rate@rank4"] == 1
    assert found["hit_rate@rank1"] == 0


def test_list_quality() -> None:
    text = "Alien (1979)\nalien (1980)\nNo Such Film\nHeat (1995)"
    found = metrics_of(text, seen=(("Heat", None),))
    assert found["in_catalog"] == 3 / 4
    assert found["format"] == 3 / 4
    assert found["repeats"] == 1 / 4
    assert found["seen"] == 1 / 4
    assert found["exact_n"] == 1


def test_missing_and_extra_lines() -> None:
    short = metrics_of("Alien (1979)")
    assert (short["in_catalog"], short["format"], short["exact_n"]) == (1, 1, 0)
    long = metrics_of("Alien (1979)\nHeat (1995)\nX (1)\nY (2)\nBrazil (1985)")
    assert (long["in_catalog"], long["exact_n"]) == (2 / 4, 0)
    assert long["recall@5"] == 1
    empty = metrics_of("")
    assert {empty[name] for name in ("in_catalog", "format", "exact_n", "repeats", "seen")} == {0}


def test_format_without_years() -> None:
    lists = [ListToScore("Alien\n\nAlien", [], [("Alien", None)])]
    batch = match_standard(lists, PLAIN, n=3, years=False)
    assert batch.quality["format"] == pytest.approx([2 / 3])
    assert batch.relevance[0, :3].tolist() == [1, 0, 0]


def test_truths_outside_the_catalog_are_misses() -> None:
    truth = (("Brazil", 1985), ("No Such Film", 2000))
    found = metrics_of("Brazil (1985)\nNo Such Film (2000)", truth=truth)
    assert found["recall@5"] == 1 / 2
    assert found["ndcg@5"] == pytest.approx(1 / (1 + 1 / math.log2(3)))
    only = metrics_of("No Such Film (2000)", truth=truth[1:])
    assert (only["recall@5"], only["ndcg@5"], only["hit@5"]) == (0, 0, 0)
