"""A training without a single reward does not end as completed, unless it was a short trial."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from convrec.errors import TrainingError
from convrec.stages.rank_grpo.outcome import MIN_STEPS, check_rewards
from convrec.training.metrics_log import MetricsLog


def log(folder: Path, steps: int, **last: float) -> MetricsLog:
    """A log of equal steps without rewards, except for the last one."""
    metrics_log = MetricsLog(folder)
    for step in range(1, steps + 1):
        values = {"reward": 0.0, "in_catalog": 0.25, "cut": 0.0}
        metrics_log.add_metrics(step, values | (last if step == steps else {}))
    return metrics_log


def test_a_long_training_without_a_reward_fails(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as raised:
        check_rewards(log(tmp_path, MIN_STEPS), MIN_STEPS)
    assert str(raised.value) == (
        "no list of all 20 steps had a reward: no line was in the ground truth, 25.0% of the lines "
        "were in the catalog, and 0.0% of the lists reached model.max_completion_tokens; train sft "
        "longer, or set rank_grpo.sampler=constrained"
    )


def test_a_short_trial_without_a_reward_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    steps = MIN_STEPS - 1
    with caplog.at_level(logging.WARNING):
        text = check_rewards(log(tmp_path, steps), steps)
    assert text.startswith("no list of all 19 steps had a reward")
    assert caplog.messages == [text]


def test_one_reward_is_enough(tmp_path: Path) -> None:
    assert check_rewards(log(tmp_path, MIN_STEPS, reward=1e-4), MIN_STEPS) == ""


def test_rounding_is_no_reward(tmp_path: Path) -> None:
    with pytest.raises(TrainingError):
        check_rewards(log(tmp_path, MIN_STEPS, reward=1e-9), MIN_STEPS)


def test_the_advice_fits_the_cause(tmp_path: Path) -> None:
    cut = log(tmp_path / "cut", 1, cut=1.0)
    assert check_rewards(cut, 1).endswith("; raise model.max_completion_tokens")
    known = log(tmp_path / "known", 1, in_catalog=1.0)
    assert check_rewards(known, 1).endswith("or raise rank_grpo.group_size")
