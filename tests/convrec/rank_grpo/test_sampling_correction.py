"""TRL's correction of vLLM's probabilities multiplies the policy term of Rank-GRPO."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from convrec.rank_grpo import rank_grpo_loss
from tests.support.rank_grpo_trainers import (
    N,
    generate_batch,
    gradient,
    logps_of,
    rank_trainer,
    varied_rank_reward,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are using 'rollout_func'"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]


def test_the_correction_multiplies_each_token_s_policy_term(
    checkpoint: Path, tmp_path: Path
) -> None:
    trainer = rank_trainer(checkpoint, tmp_path, "token", varied_rank_reward, beta=0.1)
    batch = generate_batch(trainer)
    torch.manual_seed(1)
    mask = batch["completion_mask"]
    old = logps_of(trainer, batch).detach()
    old = old + 0.1 * torch.randn_like(old) * mask
    ratio = torch.exp(0.5 * torch.randn_like(old)).clamp(max=3.0)
    batch |= {"old_per_token_logps": old, "importance_sampling_ratio": ratio}

    def loss_of_trl() -> Tensor:
        return trainer._compute_loss(trainer.model, dict(batch))

    without = loss_of_trl().item()
    trainer.use_vllm = trainer.vllm_importance_sampling_correction = True
    ours = gradient(trainer, loss_of_trl())
    direct = rank_grpo_loss(
        logps_of(trainer, batch),
        old,
        batch["ref_per_token_logps"],
        batch["advantages"] * ratio,
        batch["rank_ids"],
        N,
        beta=0.1,
        reduction="token",
    )
    assert loss_of_trl().item() == pytest.approx(direct.item(), abs=1e-6)
    assert abs(direct.item() - without) > 1e-3
    assert torch.allclose(ours, gradient(trainer, direct), atol=1e-6)
