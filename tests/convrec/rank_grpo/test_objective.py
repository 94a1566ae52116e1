"""The gradient of a training step is that of the objective, on and off policy."""

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

from .world import (
    N,
    arguments,
    batch_of,
    common,
    rank_trainer,
    some_rank_reward,
    weights,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are using 'rollout_func'"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]


def logps_of(trainer: RankGRPOTrainer, batch: dict[str, Any]) -> Tensor:
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    logps: Tensor = trainer._get_per_token_logps_and_entropies(
        trainer.model, ids, mask, batch["completion_ids"].size(1)
    )[0]
    return logps


def gradient(trainer: RankGRPOTrainer, loss: Tensor) -> Tensor:
    trainer.model.zero_grad()
    loss.backward()
    return torch.cat([weight.grad.flatten() for weight in trainer.model.parameters()])


def leave_the_reference(trainer: RankGRPOTrainer) -> None:
    """Move the policy, so that the KL term has a gradient."""
    torch.manual_seed(2)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight += 0.02 * torch.randn_like(weight)


def direct_loss(
    batch: dict[str, Any], logps: Tensor, old: Tensor, reduction: Any = "rank"
) -> Tensor:
    """The objective as a formula, with the weight of ranks taken out of TRL's advantages again."""
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
    trainer = rank_trainer(checkpoint, tmp_path, reduction, some_rank_reward, beta=0.1)
    batch = batch_of(trainer)
    leave_the_reference(trainer)
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
    trainer = rank_trainer(checkpoint, tmp_path, "rank", some_rank_reward)
    batch = batch_of(trainer)
    torch.manual_seed(1)
    batch["old_per_token_logps"] = logps_of(trainer, batch).detach() + 0.1 * torch.randn_like(
        batch["advantages"]
    )
    by_rank = gradient(trainer, trainer._compute_loss(trainer.model, batch))
    by_token = gradient(trainer, GRPOTrainer._compute_loss(trainer, trainer.model, batch))
    assert (by_rank - by_token).norm() > 0.1 * by_rank.norm()


def test_two_iterations_on_one_generation_go_through(checkpoint: Path, tmp_path: Path) -> None:
    trainer = rank_trainer(
        checkpoint, tmp_path, "rank", some_rank_reward, num_iterations=2, max_steps=4
    )
    before = weights(trainer)
    trainer.train()
    assert trainer._step == 4
    assert torch.isfinite(weights(trainer)).all()
    assert not torch.equal(before, weights(trainer))
    assert "old_per_token_logps" in trainer._buffered_inputs[0]


def test_the_second_iteration_on_one_generation_has_the_gradient_of_the_objective(
    checkpoint: Path, tmp_path: Path
) -> None:
    """What `trainer.train()` really steps on, with old log-probabilities that TRL kept."""
    found: list[tuple[Tensor, Tensor, float]] = []

    class Compared(RankGRPOTrainer):
        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
            loss = super()._compute_loss(model, inputs)
            new, old = logps_of(self, inputs), inputs["old_per_token_logps"]
            direct = direct_loss(inputs, new, old)
            both = [
                torch.cat(
                    [
                        part.flatten()
                        for part in torch.autograd.grad(
                            one, list(model.parameters()), retain_graph=True
                        )
                    ]
                )
                for one in (loss, direct)
            ]
            found.append((both[0], both[1], float((new - old).detach().abs().max())))
            return loss

    args = arguments(tmp_path, "grpo", num_iterations=2, max_steps=4, beta=0.1)
    trainer = Compared(
        **common(load_checkpoint(checkpoint), args, ends=True),
        rank_reward=some_rank_reward,
        n_ranks=N,
        reduction="rank",
    )
    trainer.train()
    assert len(found) == 4
    for step, (ours, direct, moved) in enumerate(found):
        assert torch.allclose(ours, direct, atol=1e-6)
        assert direct.abs().max() > 1e-4
        assert moved > 0.05 if step % 2 else moved < 1e-9
    shares = [log for log in trainer.state.log_history if f"clip_share@rank{N}" in log]
    by_step = [sum(log[f"clip_share@rank{rank + 1}"] for rank in range(N)) for log in shares]
    assert by_step[0] == by_step[2] == 0
    assert by_step[1] > 0


def test_what_the_sampler_wrote_is_out_of_the_objective(checkpoint: Path, tmp_path: Path) -> None:
    trainer = rank_trainer(checkpoint, tmp_path, "rank", some_rank_reward, beta=0.1)
    plain = trainer.rollout_func

    def marked(prompts: list[list[int]], trainer: Any) -> dict[str, Any]:
        written = plain(prompts, trainer)
        lists = written["completion_ids"]
        return {**written, "env_mask": [[int(k % 5 != 4) for k in range(len(x))] for x in lists]}

    trainer.rollout_func = marked
    batch = batch_of(trainer)
    leave_the_reference(trainer)
    hidden = (batch["tool_mask"] == 0) & batch["completion_mask"].bool()
    assert hidden.any()
    assert (batch["rank_ids"][hidden] == -1).all()
    assert (batch["rank_ids"][2] == N).any(), "hidden newlines still count"
    old = batch["old_per_token_logps"] = logps_of(trainer, batch).detach() + 0.05
    ours = trainer._compute_loss(trainer.model, copy.copy(batch))
    direct = direct_loss(batch, logps_of(trainer, batch), old)
    assert ours.item() == pytest.approx(direct.item(), abs=1e-6)
    assert torch.allclose(gradient(trainer, ours), gradient(trainer, direct), atol=1e-6)
