"""The `reference` protocol: the published code's values, and its parsing of lines."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from convrec.metrics.protocols.reference import match_reference, parse_list
from convrec.metrics.registry import ranking_metrics
from convrec.metrics.rewards import exp_inf_rewards, log_rewards
from convrec.metrics.scored_lists import ListToScore


def test_published_values(shared: Path) -> None:
    text = (shared / "parity" / "metrics_and_rewards.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    with (shared / "data" / "reddit_v2" / "catalog.csv").open(encoding="utf-8") as file:
        catalog = {(row["title"], int(row["year"])) for row in csv.DictReader(file)}
    batch = match_reference(
        [
            ListToScore(
                row["completion"],
                [(title, None) for title in row["seen_titles"]],
                [(title, int(year)) for title, year in row["groundtruth_with_release_year"]],
            )
            for row in rows
        ],
        catalog,
    )
    assert len(rows) == 208
    assert [[list(item) for item in parse_list(row["completion"])] for row in rows] == [
        row["parsed"] for row in rows
    ]
    for name, values in ranking_metrics(batch).items():
        np.testing.assert_allclose(values, [row[name] for row in rows], atol=1e-9, err_msg=name)
    for name, reward in (("reward_exp_inf", exp_inf_rewards), ("reward_log", log_rewards)):
        found = [reward(row) for row in batch.reward_relevance.tolist()]
        np.testing.assert_allclose(found, [row[name] for row in rows], atol=1e-9, err_msg=name)


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("Alien (1979)", ("Alien", 1979)),
        ("3. Alien (1979)", ("Alien", 1979)),
        ("- **Alien (1979)**", ("Alien", 1979)),
        ('"Alien" (1979)', ("Alien", 1979)),
        ("Alien (1979) - a fine choice", ("Alien", 1979)),
        ("(500) Days of Summer (2009)", ("Days of Summer", 2009)),
        ("2001: A Space Odyssey (1968)", ("2001: A Space Odyssey", 1968)),
    ],
)
def test_lenient_parsing(line: str, item: tuple[str, int]) -> None:
    assert parse_list(line) == [item]


def test_lines_without_a_year_shift_the_rewards() -> None:
    catalog = {("Alien", 1979), ("Heat", 1995)}
    one = ListToScore("Alien\nHeat (1995)", [], [("Heat", 1995)])
    batch = match_reference([one], catalog)
    assert batch.reward_relevance[0, :2].tolist() == [1, 0]


def test_metrics_drop_lines_that_rewards_keep() -> None:
    catalog = {("Alien", 1979), ("Heat", 1995)}
    one = ListToScore(
        "Alien (1979)\nNo Such Film (2000)\nHeat (1995)", [("Alien", None)], [("Heat", 1996)]
    )
    batch = match_reference([one], catalog)
    assert batch.relevance[0, :3].tolist() == [1, 0, 0]
    assert batch.reward_relevance[0, :3].tolist() == [0, 0, 1]
    assert batch.lengths is not None
    assert batch.lengths.tolist() == [1]
