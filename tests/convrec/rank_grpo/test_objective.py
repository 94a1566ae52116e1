"""The gradient of a training step is that of the objective, on-policy and off-policy."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trl import GRPOTrainer

from convrec.models.load import load_checkpoint
from convrec.rank_grpo import rank_grpo_loss
from convrec.rank_grpo.trainer import RankGRPOTrainer
from tests.support.rank_grpo_trainers import (
    N,
    generate_batch,
    gradient,
    grpo_config,
    logps_of,
    rank_trainer,
    trainer_options,
    varied_rank_reward,
    weights,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are using 'rollout_func'"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]


def move_policy(trainer: RankGRPOTrainer) -> None:
    """Move the policy away from the reference, so the KL term has a gradient."""
    torch.manual_seed(2)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight += 0.02 * torch.randn_like(weight)


def direct_loss(
    batch: dict[str, Any], logps: Tensor, old: Tensor, reduction: Any = "rank"
) -> Tensor:
    """The objective as a formula, with the rank weights removed from the batch's advantages."""
    advantages, segments = batch["advantages"], batch["rank_ids"]
    if reduction == "rank":
        lengths = (segments >= 0).sum(dim=1, keepdim=True)
        spans = segments.clamp(max=N)
        sizes = torch.stack([(spans == ids[:, None]).sum(1) for ids in spans.T], dim=1)
        advantages = advantages * N * sizes / lengths
    return rank_grpo_loss(
        logps,
        old,
        batch["ref_per_token_logps"],
        advantages,
        segments,
        N,
        beta=0.1,
        reduction=reduction,
    )


@pytest.mark.parametrize("reduction", ["rank", "token", "sequence"])
@pytest.mark.parametrize("off_policy", [False, True])
def test_the_gradient_is_that_of_the_objective(
    checkpoint: Path, tmp_path: Path, reduction: Any, off_policy: bool
) -> None:
    trainer = rank_trainer(checkpoint, tmp_path, reduction, varied_rank_reward, beta=0.1)
    batch = generate_batch(trainer)
    move_policy(trainer)
    old = logps_of(trainer, batch).detach()
    assert (batch["rank_ids"] > N).any()
    if off_policy:
        torch.manual_seed(1)
        old = old + 0.1 * torch.randn_like(old) * batch["completion_mask"]
        batch["old_per_token_logps"] = old
        spread = logps_of(trainer, batch).detach() - old
        assert spread.abs().max() > 0.2
    ours = trainer._compute_loss(trainer.model, copy.copy(batch))
    gradient_ours = gradient(trainer, ours)
    direct = direct_loss(batch, logps_of(trainer, batch), old, reduction)
    gradient_direct = gradient(trainer, direct)
    assert ours.item() == pytest.approx(direct.item(), abs=1e-6)
    assert gradient_direct.abs().max() > 1e-4
    assert torch.allclose(gradient_ours, gradient_direct, atol=1e-6)


def test_an_off_policy_step_needs_rank_ratios(checkpoint: Path, tmp_path: Path) -> None:
    trainer = rank_trainer(checkpoint, tmp_path, "rank", varied_rank_reward)
    batch = generate_batch(trainer)
    torch.manual_seed(1)
    batch["old_per_token_logps"] = logps_of(trainer, batch).detach() + 0.1 * torch.randn_like(
        batch["advantages"]
    )
    by_rank = gradient(trainer, trainer._compute_loss(trainer.model, batch))
    by_token = gradient(trainer, GRPOTrainer._compute_loss(trainer, trainer.model, batch))
    assert (by_rank - by_token).norm() > 0.1 * by_rank.norm()


def test_two_iterations_per_generation_train(checkpoint: Path, tmp_path: Path) -> None:
    trainer = rank_trainer(
        checkpoint, tmp_path, "rank", varied_rank_reward, num_iterations=2, max_steps=4
    )
    before = weights(trainer)
    trainer.train()
    assert trainer._step == 4
    assert torch.isfinite(weights(trainer)).all()
    assert not torch.equal(before, weights(trainer))
    assert "old_per_token_logps" in trainer._buffered_inputs[0]


def test_both_iterations_have_the_objective_s_gradient(checkpoint: Path, tmp_path: Path) -> None:
    """The gradients inside `trainer.train()`, with the old log-probabilities that TRL stores."""
    steps: list[tuple[Tensor, Tensor, float]] = []

    class ComparingTrainer(RankGRPOTrainer):
        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
            loss = super()._compute_loss(model, inputs)
            new, old = logps_of(self, inputs), inputs["old_per_token_logps"]
            direct = direct_loss(inputs, new, old)
            gradients = [
                torch.cat(
                    [
                        part.flatten()
                        for part in torch.autograd.grad(
                            value, list(model.parameters()), retain_graph=True
                        )
                    ]
                )
                for value in (loss, direct)
            ]
            steps.append((gradients[0], gradients[1], float((new - old).detach().abs().max())))
            return loss

    args = grpo_config(tmp_path, "grpo", num_iterations=2, max_steps=4, beta=0.1)
    trainer = ComparingTrainer(
        **trainer_options(load_checkpoint(checkpoint), args, ends=True),
        rank_reward=varied_rank_reward,
        n_ranks=N,
        reduction="rank",
    )
    trainer.train()
    assert len(steps) == 4
    for step, (ours, direct, moved) in enumerate(steps):
        assert torch.allclose(ours, direct, atol=1e-6)
        assert direct.abs().max() > 1e-4
        assert moved > 0.05 if step % 2 else moved < 1e-9
    shares = [log for log in trainer.state.log_history if f"clip_share@rank{N}" in log]
    by_step = [sum(log[f"clip_share@rank{rank + 1}"] for rank in range(N)) for log in shares]
    assert by_step[0] == by_step[2] == 0
    assert by_step[1] > 0


def test_forced_tokens_are_outside_the_objective(checkpoint: Path, tmp_path: Path) -> None:
    trainer = rank_trainer(checkpoint, tmp_path, "rank", varied_rank_reward, beta=0.1)
    plain = trainer.rollout_func

    def with_env_mask(prompts: list[list[int]], trainer: Any) -> dict[str, Any]:
        output = plain(prompts, trainer)
        lists = output["completion_ids"]
        return {**output, "env_mask": [[int(k % 5 != 4) for k in range(len(x))] for x in lists]}

    trainer.rollout_func = with_env_mask
    batch = generate_batch(trainer)
    move_policy(trainer)
    hidden = (batch["tool_mask"] == 0) & batch["completion_mask"].bool()
    assert hidden.any()
    assert (batch["rank_ids"][hidden] == -1).all()
    assert (batch["rank_ids"][2] == N).any(), "hidden newlines still count"
    old = batch["old_per_token_logps"] = logps_of(trainer, batch).detach() + 0.05
    ours = trainer._compute_loss(trainer.model, copy.copy(batch))
    direct = direct_loss(batch, logps_of(trainer, batch), old)
    assert ours.item() == pytest.approx(direct.item(), abs=1e-6)
    assert torch.allclose(gradient(trainer, ours), gradient(trainer, direct), atol=1e-6)
