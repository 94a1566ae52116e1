"""Contracts with TRL 1.16: equal rank rewards are plain GRPO, other settings are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trl import GRPOTrainer

from convrec.config import Model
from convrec.errors import TrainingError
from convrec.models.load import Student, load_checkpoint
from convrec.models.tiny import make_tiny
from convrec.rank_grpo.advantages import Shaping
from convrec.rank_grpo.trainer import LOSS_TYPE, RankGRPOTrainer
from tests.support.rank_grpo_trainers import (
    GROUP,
    PROMPT_TEXTS,
    N,
    generate_batch,
    grpo_config,
    rank_trainer,
    train,
    trainer_options,
    varied_rank_reward,
    weights,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are using 'rollout_func'"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]


GOLDEN_LOSSES = [0.025223346, -0.007036036, -0.005230172, -0.037391126]
GOLDEN_NORMS = [0.5206, 0.04812, 0.4786, 0.3795]


@pytest.mark.parametrize("reduction", ["sequence", "token"])
def test_equal_rank_rewards_are_plain_grpo(
    checkpoint: Path, tmp_path: Path, reduction: Any
) -> None:
    args = grpo_config(tmp_path, LOSS_TYPE[reduction])
    plain = GRPOTrainer(**trainer_options(load_checkpoint(checkpoint), args))
    before = weights(plain)
    train(plain)

    class EqualRankRewards(RankGRPOTrainer):
        def _calculate_rewards(self, *args: Any) -> Tensor:
            rewards = super()._calculate_rewards(*args)
            self._rank_rewards = rewards.sum(dim=1, keepdim=True).expand(-1, N).contiguous()
            return rewards

    args = grpo_config(tmp_path, LOSS_TYPE[reduction])
    ours = EqualRankRewards(
        **trainer_options(load_checkpoint(checkpoint), args),
        rank_reward=lambda text, row: [0.0] * N,
        n_ranks=N,
        reduction=reduction,
    )
    train(ours)
    moved = (weights(plain) - before).abs().max()
    assert moved > 1e-2
    assert (weights(ours) - weights(plain)).abs().max() < 1e-4


def test_the_end_of_a_list_is_shaped_apart_from_titles(checkpoint: Path, tmp_path: Path) -> None:
    trainer = rank_trainer(checkpoint, tmp_path, "rank", varied_rank_reward)
    batch = generate_batch(trainer)
    ids, advantages = batch["rank_ids"], batch["advantages"]
    long, exact, early = ids[0].tolist(), ids[2].tolist(), ids[1].tolist()
    assert long == [0, 0, 1, 1, 2, 2, 3, N, N, N + 1]
    assert exact[:9] == [0, 0, 1, 1, 2, 2, 3, 3, N]
    assert early[:8] == [0, 0, 0, 0, 1, 1, 1, N]
    length = batch["completion_mask"].sum(dim=1)
    assert torch.allclose(advantages[0, 7:], torch.full((3,), -0.1 * length[0] / (N * 3)))
    assert torch.allclose(advantages[2, 8], 0.1 * length[2] / N)
    assert torch.allclose(advantages[1, 7], -0.1 * length[1] / N)


def test_faults_are_added_to_the_advantages_of_ranks(checkpoint: Path, tmp_path: Path) -> None:
    """Without hits, only the invalid line of one list in four has advantages."""

    def no_rewards(text: str, row: dict[str, Any]) -> list[float]:
        return [0.0] * N

    lists = iter(range(10**6))

    def faults(text: str, row: dict[str, Any]) -> list[float]:
        return [0.0, float(next(lists) % GROUP == 3), 0.0, 0.0]

    trainer = RankGRPOTrainer(
        **trainer_options(
            load_checkpoint(checkpoint), grpo_config(tmp_path, LOSS_TYPE["sequence"])
        ),
        rank_reward=no_rewards,
        n_ranks=N,
        rank_faults=faults,
        shaping=Shaping(overflow=0.0, exact=0.0, early=0.0, fault=0.8),
        reduction="sequence",
    )
    batch = generate_batch(trainer)
    of_rank_1 = batch["advantages"][batch["rank_ids"] == 1].unique()
    assert sorted(of_rank_1.tolist()) == pytest.approx([-0.6, 0.2])
    assert not batch["advantages"][batch["rank_ids"] != 1].any()


def test_a_golden_trajectory(checkpoint: Path, tmp_path: Path) -> None:
    """Losses of four steps in float64. A change here is a change of the method."""
    texts = [*PROMPT_TEXTS, "Heat (1995)\nAlien (1979)\nBig (1988)"]
    student = Student(*make_tiny(texts, Model(vocabulary=300, hidden=16, layers=2), seed=0))
    student.model.save_pretrained(tmp_path / "start")
    student.tokenizer.save_pretrained(tmp_path / "start")
    trainer = rank_trainer(
        tmp_path / "start", tmp_path / "out", "rank", varied_rank_reward,
        num_iterations=2, max_steps=4, beta=0.1,
    )  # fmt: skip
    train(trainer)
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    norms = [log["grad_norm"] for log in trainer.state.log_history if "loss" in log]
    assert losses == pytest.approx(GOLDEN_LOSSES, abs=2e-6)
    assert norms == pytest.approx(GOLDEN_NORMS, rel=1e-3)


def test_a_trl_that_reads_old_logps_first_is_refused(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = rank_trainer(checkpoint, tmp_path, "rank", varied_rank_reward)
    batch = generate_batch(trainer)

    def other_order(self: Any, model: Any, inputs: dict[str, Any]) -> Tensor:
        return torch.zeros(1) - inputs["old_per_token_logps"]

    monkeypatch.setattr(GRPOTrainer, "_compute_loss", other_order)
    with pytest.raises(TrainingError, match=r"trl 1\.16"):
        trainer._compute_loss(trainer.model, batch)
    monkeypatch.setattr(GRPOTrainer, "_compute_loss", lambda *_: torch.zeros(1))
    with pytest.raises(TrainingError, match=r"trl 1\.16"):
        trainer._compute_loss(trainer.model, batch)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"loss_type": "dapo"}, "loss_type='grpo'"),
        ({"importance_sampling_level": "sequence"}, "importance_sampling_level='token'"),
        ({"use_bias_correction_kl": True}, "use_bias_correction_kl=False"),
    ],
)
def test_arguments_of_another_objective_are_refused(
    checkpoint: Path, tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    args = grpo_config(tmp_path, **{"loss_type": "grpo", **wrong})
    with pytest.raises(TrainingError, match=message):
        RankGRPOTrainer(
            **trainer_options(load_checkpoint(checkpoint), args),
            rank_reward=varied_rank_reward,
            n_ranks=N,
            reduction="rank",
        )
