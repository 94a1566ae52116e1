"""The example that docs/evaluation.md works by hand."""

from __future__ import annotations

import pytest

from convrec.metrics.protocols.reference import match_reference
from convrec.metrics.protocols.standard import match_standard
from convrec.metrics.registry import ListToScore, all_metrics, ranking_metrics
from convrec.titles.index import TitleIndex

ITEMS = [("h", "Heat", 1995), ("a", "Alien", 1979), ("b", "Brazil", 1985), ("u", "Up", 2009)]
TRUTH = [("Alien", 1979), ("Brazil", 1985), ("Up", 2009)]
LINES = "Heat (1995)\nAlien (1979)\nAlien (1979)\nNo Such Film (2000)\nBrazil (1986)"
ASKED = [ListToScore(LINES, [("Heat", 1995)], TRUTH)]


def test_standard_as_worked_by_hand() -> None:
    batch = match_standard(ASKED, TitleIndex(ITEMS), n=5)
    found = {name: round(float(values[0]), 3) for name, values in all_metrics(batch).items()}
    assert batch.relevance[0, :5].tolist() == [0, 1, 0, 0, 1]
    assert (found["recall@5"], found["ndcg@5"]) == (0.667, 0.478)
    assert (found["mrr@5"], found["hit@5"], found["hit_rate@rank2"]) == (0.5, 1, 1)
    rates = [found[name] for name in ("in_catalog", "format", "repeats", "seen", "exact_n")]
    assert rates == [0.8, 1, 0.2, 0.2, 1]


def test_the_published_reading_is_kinder_to_the_same_list() -> None:
    catalog = {(title, year) for _, title, year in ITEMS}
    found = ranking_metrics(match_reference(ASKED, catalog))
    assert found["ndcg@5"][0] == pytest.approx(0.613, abs=5e-4)


def test_one_title_that_hits_is_perfect_there_and_not_here() -> None:
    short = [ListToScore("Alien (1979)", [], TRUTH)]
    theirs = ranking_metrics(match_reference(short, {("Alien", 1979)}))
    ours = ranking_metrics(match_standard(short, TitleIndex(ITEMS)))
    assert theirs["ndcg@5"][0] == 1
    assert ours["ndcg@5"][0] == pytest.approx(0.469, abs=5e-4)
