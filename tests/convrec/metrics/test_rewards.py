"""Rank rewards: worked examples and the published values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from convrec.errors import ConfigError
from convrec.metrics.relevance import list_lines, match_lines
from convrec.metrics.rewards import exp_inf_rewards, exp_rewards, log_rewards, parse_reward
from convrec.titles.index import TitleIndex

CATALOG = TitleIndex(
    [("1", "Heat", 1995), ("2", "Alien", 1979), ("3", "Big", 1988), ("4", "Jaws", 1975)]
)
TRUTHS = [("Heat", 1995), ("Alien", 1979)]


def relevance_of(text: str, seen: list[tuple[str, int | None]] | None = None) -> list[int]:
    matched = match_lines(list_lines(text)[:4], CATALOG, seen or [], TRUTHS)
    relevance = [int(line.truth is not None) for line in matched]
    return relevance + [0] * (4 - len(relevance))


def test_line_earns_at_its_own_rank() -> None:
    assert relevance_of("Big (1988)\nHeat (1995)\nJaws (1975)\nAlien (1979)") == [0, 1, 0, 1]


def test_malformed_line_shifts_no_other() -> None:
    assert relevance_of("- **Heat (1995)**\n\nAlien (1979)") == [0, 0, 1, 0]


def test_repeat_earns_once_and_keeps_its_rank() -> None:
    assert relevance_of("Heat (1995)\nHeat (1995)\nHeat (1996)\nAlien (1979)") == [1, 0, 0, 1]


def test_year_tolerance_is_two() -> None:
    assert relevance_of("Heat (1997)\nAlien (1982)") == [1, 0, 0, 0]


def test_seen_and_out_of_catalog_lines_earn_nothing() -> None:
    assert relevance_of("Heat (1995)\nNowhere (1990)\nAlien (1979)", [("Heat", None)]) == [
        0,
        0,
        1,
        0,
    ]


def test_lines_past_n_earn_nothing() -> None:
    assert relevance_of("Big (1988)\nJaws (1975)\nx\ny\nHeat (1995)") == [0, 0, 0, 0]


def test_log_rewards_sum_the_gains_from_a_rank_on() -> None:
    second, fourth = 1 / math.log2(3), 1 / math.log2(5)
    expected = [second + fourth, second + fourth, fourth, fourth]
    assert log_rewards([0, 1, 0, 1]) == pytest.approx(expected)


def test_exp_rewards_discount_by_gamma() -> None:
    assert exp_rewards(2.0)([0, 1, 0, 1]) == [0.625, 1.25, 0.5, 1.0]
    assert exp_inf_rewards([0, 1, 0, 1]) == [0, 1, 0, 1]
    assert exp_rewards(1e12)([0, 1, 0, 1]) == pytest.approx(exp_inf_rewards([0, 1, 0, 1]))


def test_parse_reward() -> None:
    assert parse_reward("exp:2.0")([0, 1]) == [0.5, 1.0]
    assert parse_reward("log") is log_rewards
    assert parse_reward("exp_inf") is exp_inf_rewards
    for wrong in ("exp:1", "exp:x", "linear"):
        with pytest.raises(ConfigError, match="allowed are log, exp_inf"):
            parse_reward(wrong)


def test_log_rewards_match_published_values(shared: Path) -> None:
    rows = (shared / "parity" / "metrics_and_rewards.jsonl").read_text(encoding="utf-8")
    for row in map(json.loads, rows.splitlines()):
        published = row["reward_exp_inf"]
        assert log_rewards(exp_inf_rewards(published)) == pytest.approx(row["reward_log"], abs=1e-9)
