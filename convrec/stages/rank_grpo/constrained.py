"""Learning from constrained lists: TRL's log-probabilities, taken under the sampler's mask.

A list that was sampled among the catalog's unseen lines is an action of the masked model, so what
TRL compares (new, old and reference) has to be the masked model's too. Every algorithm gets it by
one class more between it and TRL's trainer; what was closed to each list travels with the batch.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from trl import GRPOTrainer

from convrec.errors import TrainingError
from convrec.models.generation.masked_logprobs import allowed_tokens, constrained_logps
from convrec.rank_grpo.rollout import Rollout
from convrec.rank_grpo.trainer import RankGRPOTrainer


class ConstrainedGRPOTrainer(GRPOTrainer):
    """GRPO over lists of a constrained `Rollout`, which `rollout` has to be given after it is made.

    TRL's own method would take log-probabilities over the whole vocabulary; this one stands in for
    it, and computes them among the tokens that could come.
    """

    rollout: Rollout
    _closed: Tensor | None = None

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """TRL's batch, with the lines that were closed to each list as `closed` (B, lines)."""
        self._closed = None
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        batch["closed"] = self.rollout.closed
        return batch

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """TRL's loss, on log-probabilities under the mask of these lists."""
        self._closed = inputs["closed"]
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
        """Log-probabilities and entropies (B, T) of the last `logits_to_keep` tokens."""
        sampler = self.rollout.sampler
        closed = self.rollout.closed if self._closed is None else self._closed
        if sampler is None or sampler.catalog is None or closed is None:
            raise TrainingError("lists are not constrained; use GRPOTrainer for them")
        ids, mask = input_ids[:, -logits_to_keep:], attention_mask[:, -logits_to_keep:]
        allowed = allowed_tokens(sampler.catalog, sampler.n, ids, mask, closed)
        logps, entropies = constrained_logps(
            model,
            input_ids,
            attention_mask,
            allowed,
            keep=logits_to_keep,
            temperature=self.temperature,
        )
        return logps, entropies if compute_entropy else None, None


class ConstrainedRankGRPOTrainer(RankGRPOTrainer, ConstrainedGRPOTrainer):
    """Rank-GRPO over constrained lists: rank ratios of masked log-probabilities."""
