from __future__ import annotations

import pytest

from convrec.metrics.rewards import exp_inf_rewards
from convrec.stages.rank_grpo.reward_function import ListScorer
from convrec.titles.index import TitleIndex

ITEMS = [("1", "Heat", 1995), ("2", "Alien", 1979), ("3", "Big", 1988), ("4", "Up", 2009)]
ROW = {
    "seen": [{"title": "Big", "year": 1988}],
    "ground_truth": [{"title": "Alien", "year": 1979}, {"title": "Up", "year": 2009}],
}


@pytest.fixture
def scorer() -> ListScorer:
    return ListScorer(TitleIndex(ITEMS), 6, exp_inf_rewards, years=True)


def test_each_rank_has_a_reward_and_a_fault(scorer: ListScorer) -> None:
    lines = ["Heat (1995)", "Alien (1979)", "Alien (1979)", "Big (1988)", "Cats"]
    text = "\n".join(lines)
    assert scorer.rank_rewards(text, ROW) == [0, 1, 0, 0, 0, 0]
    assert scorer.rank_faults(text, ROW) == [0, 0, 1, 1, 1, 0]


def test_misses_and_missing_lines_are_no_faults(scorer: ListScorer) -> None:
    assert scorer.rank_faults("Heat (1995)", ROW) == [0.0] * 6
