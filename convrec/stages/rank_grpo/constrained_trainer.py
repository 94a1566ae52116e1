"""Training on constrained lists: TRL's log-probabilities, computed under the sampler's mask.

A list sampled among the catalog's unseen lines is an action of the masked model, so the
log-probabilities that TRL compares (new, old and reference) must be the masked model's too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convrec.errors import TrainingError
from convrec.models.generation.masked_logprobs import allowed_tokens, constrained_logps
from convrec.rank_grpo.rollout import Rollout
from convrec.rank_grpo.trainer import RankGRPOTrainer
from convrec.rank_grpo.zero_advantage import ZeroAdvantageFilter


class ConstrainedGRPOTrainer(ZeroAdvantageFilter):
    """GRPO on lists of a constrained `Rollout`; set `rollout` after construction."""

    rollout: Rollout
    _excluded: Tensor | None = None

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """TRL's batch, with the lines excluded from each list as `excluded` (B, lines)."""
        self._excluded = None
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        batch["excluded"] = self.rollout.excluded
        return batch

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """TRL's loss, on log-probabilities under the mask of these lists."""
        self._excluded = inputs["excluded"]
        loss: Tensor = super()._compute_loss(model, inputs)
        return loss

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **_: Any,
    ) -> tuple[Tensor, Tensor | None, None]:
        """Log-probabilities and entropies (B, T) of the last `logits_to_keep` tokens.

        `batch_size` lists at a time go through the model.
        """
        sampler = self.rollout.sampler
        excluded = self.rollout.excluded if self._excluded is None else self._excluded
        if sampler.catalog is None or excluded is None:
            raise TrainingError("the lists are not constrained; use GRPOTrainer for them")
        parts = []
        for rows in torch.arange(len(input_ids)).split(batch_size or len(input_ids)):
            ids, mask = input_ids[rows], attention_mask[rows]
            allowed = allowed_tokens(
                sampler.catalog,
                sampler.n,
                ids[:, -logits_to_keep:],
                mask[:, -logits_to_keep:],
                excluded[rows],
            )
            parts.append(
                constrained_logps(
                    model, ids, mask, allowed, keep=logits_to_keep, temperature=self.temperature
                )
            )
        logps, entropies = (torch.cat(values) for values in zip(*parts, strict=True))
        return logps, entropies if compute_entropy else None, None


class ConstrainedRankGRPOTrainer(RankGRPOTrainer, ConstrainedGRPOTrainer):
    """Rank-GRPO on constrained lists: rank ratios of masked log-probabilities."""

    def _has_gradient(self, inputs: dict[str, Any]) -> Tensor:
        """EOS has an advantage but no gradient: the mask leaves no other token in its place."""
        eos = torch.tensor(self.eos_token_ids, device=inputs["completion_ids"].device)
        chosen = inputs["advantages"].masked_fill(torch.isin(inputs["completion_ids"], eos), 0)
        return super()._has_gradient({**inputs, "advantages": chosen})
