"""The share of groups with mixed rewards, before the first step and in the first ones."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from convrec.config import Config
from convrec.errors import TrainingError
from convrec.stages.rank_grpo import make_trainer as trainers
from convrec.stages.rank_grpo.gate import EqualRewardsWarning, Gate, mixed_share
from convrec.stages.rank_grpo.make_trainer import make_gate
from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.titles.index import TitleIndex
from convrec.training.metrics_log import MetricsLog
from convrec.utils.progress import no_progress
from tests.support.trainings import FILMS, SAMPLES, config, weights

PROMPTS = [{**SAMPLES[i % 6], "conversation": f"film number {i}"} for i in range(8)]

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def train(checkpoint: Path, out: Path, settings: Config) -> dict[str, Any]:
    torch.set_num_threads(1)
    index = TitleIndex(FILMS)
    figures, _ = train_rank_grpo(checkpoint, PROMPTS, index, settings, out, 5, no_progress)
    return figures


@pytest.mark.parametrize(
    ("groups", "share"),
    [
        ([[0.0, 0.0], [1.0, 1.0]], 0),
        ([[0.0, 0.0], [0.0, 1.0]], 0.5),
        ([[[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]], 0.5),
        ([[0.0, 0.0, 0.1], [0.2, 0.0, 0.0]], 1),
    ],
)
def test_a_group_is_mixed_unless_all_rewards_are_equal(groups: Any, share: float) -> None:
    assert mixed_share(groups) == share


@pytest.mark.parametrize("algorithm", ["rank_grpo", "grpo"])
def test_the_gate_changes_no_weight(
    checkpoint: Path, tmp_path: Path, algorithm: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"algorithm": algorithm, "steps": 3, "group_size": 4}
    figures = train(checkpoint, tmp_path / "without", config(**settings))
    assert "mixed_groups" not in figures
    gated = {**settings, "min_mixed": 0.01}
    with caplog.at_level(logging.INFO, logger="convrec"):
        figures = train(checkpoint, tmp_path / "with", config(**gated))
    assert 0.01 <= figures["mixed_groups"] <= 1
    text = f"{figures['mixed_groups']:.0%} of 6 groups have different rewards"
    assert text in caplog.text
    assert torch.equal(weights(tmp_path / "without"), weights(tmp_path / "with"))


def test_too_few_mixed_groups_are_refused(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def same_lists(*arguments: Any) -> Any:
        return lambda: ["Heat (1995)"] * len(arguments[2])

    monkeypatch.setattr(trainers, "_text_sampler", same_lists)
    message = "only 0% of 4 groups have different rewards, and rank_grpo.min_mixed=0.3"
    with pytest.raises(TrainingError, match=message):
        train(checkpoint, tmp_path / "out", config(min_mixed=0.3, gate_prompts=4))
    assert not (tmp_path / "out").exists()


def test_no_more_lists_than_those_of_a_step_are_sampled_at_once(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled = []

    def sampler(inputs: Any, trainer: Any, prompts: list[Any], seed: int) -> Any:
        sampled.append((len(prompts), seed))
        return lambda: ["Heat (1995)", "Alien (1979)"] * (len(prompts) // 2)

    monkeypatch.setattr(trainers, "_text_sampler", sampler)
    figures = train(checkpoint, tmp_path / "out", config(min_mixed=0.5, gate_prompts=5, steps=3))
    assert figures["mixed_groups"] == 0.8  # one of the five prompts has seen Alien
    assert [count for count, _ in sampled] == [4, 4, 2]
    assert len({seed for _, seed in sampled}) == 3


def test_a_resumed_training_is_not_sampled_again(tmp_path: Path) -> None:
    def never() -> list[list[float]]:
        raise AssertionError

    gate = Gate(never, config(min_mixed=0.5).rank_grpo, MetricsLog(tmp_path))
    gate.on_train_begin(None, SimpleNamespace(global_step=2), None)


def test_without_a_minimum_there_is_no_gate(tmp_path: Path) -> None:
    inputs: Any = SimpleNamespace(config=config(), index=TitleIndex(FILMS))
    assert make_gate(inputs, None, MetricsLog(tmp_path)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shares", "warns"),
    [
        ({1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0}, True),
        ({1: 1.0, 2: None, 3: 1.0}, True),
        ({1: 1.0, 2: 0.5, 3: 1.0, 4: 1.0}, False),
        ({2: 1.0, 3: 1.0}, False),
        ({1: 1.0, 2: 1.0}, False),
    ],
)
def test_equal_rewards_in_the_first_steps_warn(
    shares: dict[int, float | None], warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    warning = EqualRewardsWarning()
    for step, share in shares.items():
        logs = {"loss": 0.0} | ({} if share is None else {"frac_reward_zero_std": share})
        warning.on_log(None, SimpleNamespace(global_step=step), None, logs=logs)
    assert bool(warning.text) == warns
    assert len(caplog.records) == warns


def test_a_training_whose_rewards_are_equal_says_so(checkpoint: Path, tmp_path: Path) -> None:
    nothing_matches = TitleIndex([("9", "Ran", 1985)])
    torch.set_num_threads(1)
    figures, _ = train_rank_grpo(
        checkpoint, SAMPLES, nothing_matches, config(steps=3), tmp_path / "out", 5, no_progress
    )
    assert "the same reward in the first 3 steps" in str(figures["warning"])


def test_the_gate_moves_no_id() -> None:
    ids = [
        values.rank_grpo.identity_settings()
        for values in (config(), config(min_mixed=0.3, gate_prompts=8))
    ]
    assert ids[0] == ids[1]
    assert "reward_shaping" not in ids[0]
    shaped = config(algorithm="grpo", reward_shaping=True).rank_grpo.identity_settings()
    assert shaped["reward_shaping"] is True
