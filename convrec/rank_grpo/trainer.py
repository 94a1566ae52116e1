"""Rank-GRPO as a subclass of TRL's GRPOTrainer (paper: arXiv 2510.20150).

The published trainer is a copy of TRL's. This one overrides four methods and calls `super()` in
each; its base `ZeroAdvantageFilter` overrides a fifth. TRL's advantages (B,) become token
advantages (B, T). The old log-probabilities are replaced such that the log-ratio that TRL computes
is its mean over the rank; TRL's own ratio, clipping and logging then work on ranks. Contract tests
pin this to TRL 1.16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from accelerate.utils import gather
from torch import Tensor

from convrec.errors import TrainingError
from convrec.models.generation.without_catalog import count_newlines
from convrec.rank_grpo.advantages import (
    PUBLISHED,
    Shaping,
    fault_advantages,
    rank_advantages,
    token_advantages,
)
from convrec.rank_grpo.reference_loss import Reduction
from convrec.rank_grpo.segments import PADDING, rank_counts, rank_weights, segment_ranks, span_mean
from convrec.rank_grpo.zero_advantage import ZeroAdvantageFilter

RankScorer = Callable[[str, dict[str, Any]], list[float]]
"""From a completion and its dataset row to one value for each of the ranks 1 to N."""

LOSS_TYPE: dict[Reduction, str] = {"rank": "grpo", "sequence": "grpo", "token": "dapo"}
"""The TRL `loss_type` that averages like each reduction; rank weights go into the advantages."""

REQUIRED_ARGS = {"importance_sampling_level": "token", "use_bias_correction_kl": False}
"""TRL arguments that the objective relies on: the ratio is set here, and the KL term is plain."""


class RankGRPOTrainer(ZeroAdvantageFilter):
    """GRPO with rewards, advantages and importance ratios per rank.

    Args:
        rank_reward: Returns the N rewards of one list. The scalar `reward_funcs` are only logged.
        n_ranks: The requested length N.
        rank_faults: Returns 1 for each rank with an invalid line, else 0. Called only if
            `shaping.fault` is not 0.
        shaping: Values that shape the length of a list.
        reduction: What the loss averages over (`rank_grpo_loss`).

    All other arguments are GRPOTrainer's. Raises TrainingError if `args` disagrees with
    REQUIRED_ARGS or LOSS_TYPE.
    """

    def __init__(
        self,
        *args: Any,
        rank_reward: RankScorer,
        n_ranks: int,
        rank_faults: RankScorer | None = None,
        shaping: Shaping = PUBLISHED,
        reduction: Reduction = "rank",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for name, required in {**REQUIRED_ARGS, "loss_type": LOSS_TYPE[reduction]}.items():
            if getattr(self.args, name) != required:
                raise TrainingError(
                    f"the {reduction!r} reduction of Rank-GRPO needs {name}={required!r}, "
                    f"not {getattr(self.args, name)!r}"
                )
        self.rank_reward = rank_reward
        self.rank_faults = rank_faults if shaping.fault else None
        self.n_ranks = n_ranks
        self.shaping = shaping
        self.reduction = reduction
        self.newline_counts = count_newlines(self._tokenizer, self.model.config.vocab_size)
        self._rank_rewards = self._rank_faults = torch.empty(0, n_ranks)  # (B, N), gathered
        self._loss_inputs: dict[str, Any] | None = None
        self._sampled_logps: Tensor | None = None

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> Tensor:
        """TRL's rewards; also stores those of the ranks, gathered across processes."""
        self._rank_rewards = self._score_ranks(self.rank_reward, completions, inputs)
        if self.rank_faults is not None:
            self._rank_faults = self._score_ranks(self.rank_faults, completions, inputs)
        return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)

    def _score_ranks(self, score: RankScorer, completions: Any, inputs: Any) -> Tensor:
        rows = [score(text, row) for text, row in zip(completions, inputs, strict=True)]
        values: Tensor = gather(torch.tensor(rows, device=self.accelerator.device))
        return values

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """TRL's batch with token advantages (B, T), and the rank of each token as `rank_ids`.

        TRL shuffles and splits `rank_ids` like any tensor.
        """
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        ids, mask = batch["completion_ids"], batch["completion_mask"]  # (B, T)
        group = self.num_generations if self.model.training else self.num_generations_eval
        start = self.accelerator.process_index * len(ids)
        is_eos = torch.isin(ids, torch.tensor(self.eos_token_ids, device=ids.device)) & mask.bool()
        segments = segment_ranks(ids, mask, self.newline_counts)
        chosen = mask * batch.get("tool_mask", 1)  # 0 for tokens that the sampler added
        by_rank = rank_advantages(self._rank_rewards, group)
        if self.rank_faults is not None:
            by_rank = by_rank + self.shaping.fault * fault_advantages(self._rank_faults, group)
        advantages = token_advantages(
            by_rank[start : start + len(ids)],
            segments,
            is_eos,
            self.n_ranks,
            self.shaping.overflow,
            self.shaping.exact,
            self.shaping.early,
        )
        if self.reduction == "rank":
            # The token that ends rank N decides whether the list goes on: a newline or EOS.
            goes_on = (segments == self.n_ranks - 1) & (self.newline_counts[ids] > 0)
            advantages = advantages.masked_fill(goes_on, self.shaping.overflow)
            segments = segments.masked_fill(is_eos | goes_on, self.n_ranks)
        segments = segments.masked_fill(chosen == 0, PADDING)
        if self.reduction == "rank":
            # TRL divides by the length of the list; 1/(N·n_k) is the mean over ranks instead.
            lengths = chosen.sum(dim=1, keepdim=True)
            advantages = advantages * lengths * rank_weights(segments, self.n_ranks)
        batch["advantages"], batch["rank_ids"] = advantages, segments
        return batch

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """TRL's loss on rank ratios: see `_get_per_token_logps_and_entropies`."""
        self._sampled_logps = inputs.get("old_per_token_logps")
        self._loss_inputs = {**inputs, "old_per_token_logps": _Pending()}
        try:
            loss: Tensor = super()._compute_loss(model, self._loss_inputs)
            if isinstance(self._loss_inputs["old_per_token_logps"], _Pending):
                raise TrainingError(_INCOMPATIBLE_TRL)
        finally:
            self._loss_inputs = self._sampled_logps = None
        return loss

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        """During a loss, set `old` such that new - old is its mean over the rank, with gradient.

        TRL's loss asks for log-probabilities before it reads the old ones. Until then, the old ones
        are a placeholder that raises on use, so another order fails instead of passing unnoticed.
        """
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        inputs = self._loss_inputs
        if inputs is not None:
            logps: Tensor = result[0]  # (B, T)
            old = logps.detach() if self._sampled_logps is None else self._sampled_logps
            log_ratio = span_mean(logps - old, inputs["rank_ids"], self.n_ranks)
            inputs["old_per_token_logps"] = logps - log_ratio
            self._log_clipping(log_ratio.detach().exp(), inputs)
        return result

    def _log_clipping(self, ratio: Tensor, inputs: dict[str, Any]) -> None:
        """Log the share of each rank's tokens whose gradient is clipped."""
        low = (ratio < 1 - self.epsilon_low) & (inputs["advantages"] < 0)
        high = (ratio > 1 + self.epsilon_high) & (inputs["advantages"] > 0)
        counts = rank_counts(low | high, inputs["rank_ids"], self.n_ranks)
        clipped, tokens = self.accelerator.reduce(counts, reduction="sum").tolist()
        metrics = self._metrics["train" if self.model.training else "eval"]
        for rank in range(self.n_ranks):
            share = clipped[rank] / tokens[rank] if tokens[rank] else float("nan")
            metrics[f"clip_share@rank{rank + 1}"].append(share)


_INCOMPATIBLE_TRL = (
    "TRL's GRPO loss no longer reads the log-probabilities in the order that Rank-GRPO relies on; "
    "install the version in constraints.txt (trl 1.16)"
)


class _Pending:
    """Placeholder for the old log-probabilities until the new ones are computed."""

    def __rsub__(self, other: object) -> Tensor:
        raise TrainingError(_INCOMPATIBLE_TRL)
