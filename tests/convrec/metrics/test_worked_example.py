"""The worked example of docs/concepts/evaluation.md."""

from __future__ import annotations

import pytest

from convrec.metrics.protocols.reference import match_reference
from convrec.metrics.protocols.standard import match_standard
from convrec.metrics.registry import all_metrics, ranking_metrics
from convrec.metrics.scored_lists import ListToScore
from convrec.titles.index import TitleIndex

ITEMS = [("h", "Heat", 1995), ("a", "Alien", 1979), ("b", "Brazil", 1985), ("u", "Up", 2009)]
TRUTH = [("Alien", 1979), ("Brazil", 1985), ("Up", 2009)]
LINES = "Heat (1995)\nAlien (1979)\nAlien (1979)\nNo Such Film (2000)\nBrazil (1986)"
LISTS = [ListToScore(LINES, [("Heat", 1995)], TRUTH)]


def test_standard_protocol() -> None:
    batch = match_standard(LISTS, TitleIndex(ITEMS), n=5)
    found = {name: round(float(values[0]), 3) for name, values in all_metrics(batch).items()}
    assert batch.relevance[0, :5].tolist() == [0, 1, 0, 0, 1]
    assert (found["recall@5"], found["ndcg@5"]) == (0.667, 0.478)
    assert (found["mrr@5"], found["hit@5"], found["hit_rate@rank2"]) == (0.5, 1, 1)
    rates = [found[name] for name in ("in_catalog", "format", "repeats", "seen", "exact_n")]
    assert rates == [0.8, 1, 0.2, 0.2, 1]


def test_reference_protocol_scores_the_list_higher() -> None:
    catalog = {(title, year) for _, title, year in ITEMS}
    found = ranking_metrics(match_reference(LISTS, catalog))
    assert found["ndcg@5"][0] == pytest.approx(0.613, abs=5e-4)


def test_only_reference_scores_a_short_list_1() -> None:
    short = [ListToScore("Alien (1979)", [], TRUTH)]
    reference = ranking_metrics(match_reference(short, {("Alien", 1979)}))
    standard = ranking_metrics(match_standard(short, TitleIndex(ITEMS)))
    assert reference["ndcg@5"][0] == 1
    assert standard["ndcg@5"][0] == pytest.approx(0.469, abs=5e-4)
