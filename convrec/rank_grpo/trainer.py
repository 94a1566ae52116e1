"""Rank-GRPO on top of TRL's GRPOTrainer (paper: arXiv 2510.20150).

The published trainer is a copy of TRL's. This one overrides four methods, each around `super()`:
rank rewards are kept beside TRL's own; advantages become (B, T), one a token, with the rank of
each token beside them, which TRL shuffles and splits like any tensor; and while TRL computes its
loss, the old log-probabilities are chosen so that the log-ratio TRL sees is its mean over the
rank. TRL's own ratio, clipping and logging thereby work on ranks.

Held to TRL 1.16 by contract tests: equal rank rewards give the weights of plain GRPO, and the
gradient is that of `rank_grpo_loss`, on- and off-policy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather
from torch import Tensor
from trl import GRPOTrainer

from convrec.errors import TrainingError
from convrec.models.tokens import newline_counts
from convrec.rank_grpo.advantages import fault_advantages, rank_advantages, token_advantages
from convrec.rank_grpo.loss import Reduction, rank_weights
from convrec.rank_grpo.segments import PADDING, rank_counts, segment_ranks, span_mean

RankReward = Callable[[str, dict[str, Any]], list[float]]
"""From a completion and its dataset row to the rewards of ranks 1 to N."""

LOSS_TYPE: dict[Reduction, str] = {"rank": "grpo", "sequence": "grpo", "token": "dapo"}
"""The TRL loss that averages as each reduction does; ranks are then weighted in the advantages."""

NEEDED = {"importance_sampling_level": "token", "use_bias_correction_kl": False}
"""TRL settings that the objective takes as given: ranks make the ratios, and KL is plain."""


@dataclass(frozen=True)
class Shaping:
    """What stands in place of an advantage: past rank N, and on EOS after N lines or fewer.

    `fault` weighs `fault_advantages`, which are added to the advantages of ranks: a line at fault
    earns 0 as a miss does, and more than that has to be said by something else than rewards.
    """

    overflow: float = -0.1
    exact: float = 0.1
    early: float = -0.1
    fault: float = 0.0


class RankGRPOTrainer(GRPOTrainer):
    """GRPO whose action is a rank: rewards, advantages and importance ratios are a rank's.

    `rank_reward` gives N rewards for one list, `n_ranks` is N, and `rank_faults`, asked where
    `shaping.fault` is not 0, says which ranks are at fault; all else is GRPOTrainer's. `args` has
    to agree with NEEDED and LOSS_TYPE. The scalar reward functions are only logged.
    """

    def __init__(
        self,
        *args: Any,
        rank_reward: RankReward,
        n_ranks: int,
        rank_faults: RankReward | None = None,
        shaping: Shaping = Shaping(),
        reduction: Reduction = "rank",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for name, needed in {**NEEDED, "loss_type": LOSS_TYPE[reduction]}.items():
            if getattr(self.args, name) != needed:
                raise TrainingError(
                    f"the {reduction!r} reduction of Rank-GRPO needs {name}={needed!r}, "
                    f"not {getattr(self.args, name)!r}"
                )
        self.rank_reward = rank_reward
        self.rank_faults = rank_faults if shaping.fault else None
        self.n_ranks = n_ranks
        self.shaping = shaping
        self.reduction = reduction
        self.newline_counts = newline_counts(self._tokenizer, self.model.config.vocab_size)
        self._rank_rewards = self._rank_faults = torch.empty(0, n_ranks)
        self._loss_inputs: dict[str, Any] | None = None
        self._sampled_logps: Tensor | None = None

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> Tensor:
        """TRL's rewards; keeps those of the ranks, gathered over processes, beside them."""
        self._rank_rewards = self._of_ranks(self.rank_reward, completions, inputs)
        if self.rank_faults is not None:
            self._rank_faults = self._of_ranks(self.rank_faults, completions, inputs)
        return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)

    def _of_ranks(self, judge: RankReward, completions: Any, inputs: Any) -> Tensor:
        """What `judge` says of each rank of each list, gathered over processes: (B, N)."""
        rows = [judge(text, row) for text, row in zip(completions, inputs, strict=True)]
        values: Tensor = gather(torch.tensor(rows, device=self.accelerator.device))
        return values

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """TRL's batch with token advantages (B, T), and the rank of each token as `rank_ids`."""
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        ids, mask = batch["completion_ids"], batch["completion_mask"]
        group = self.num_generations if self.model.training else self.num_generations_eval
        mine = slice(
            self.accelerator.process_index * len(ids),
            (self.accelerator.process_index + 1) * len(ids),
        )
        ends = torch.isin(ids, torch.tensor(self.eos_token_ids, device=ids.device)) & mask.bool()
        segments = segment_ranks(ids, mask, self.newline_counts)
        chosen = mask * batch.get("tool_mask", 1)  # 0 where the sampler wrote, not the model
        ranked = rank_advantages(self._rank_rewards, group)
        if self.rank_faults is not None:
            ranked = ranked + self.shaping.fault * fault_advantages(self._rank_faults, group)
        advantages = token_advantages(
            ranked[mine],
            segments,
            ends,
            self.n_ranks,
            self.shaping.overflow,
            self.shaping.exact,
            self.shaping.early,
        )
        if self.reduction == "rank":
            # Whether a list goes on is decided where rank N could end: at its newline, or at EOS.
            goes_on = (segments == self.n_ranks - 1) & (self.newline_counts[ids] > 0)
            advantages = advantages.masked_fill(goes_on, self.shaping.overflow)
            segments = segments.masked_fill(ends | goes_on, self.n_ranks)
        segments = segments.masked_fill(chosen == 0, PADDING)
        if self.reduction == "rank":
            lengths = chosen.sum(dim=1, keepdim=True)
            advantages = advantages * lengths * rank_weights(segments, self.n_ranks)
        batch["advantages"], batch["rank_ids"] = advantages, segments
        return batch

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """TRL's loss on rank ratios: see `_get_per_token_logps_and_entropies`."""
        self._sampled_logps = inputs.get("old_per_token_logps")
        self._loss_inputs = {**inputs, "old_per_token_logps": _NotYet()}
        try:
            loss: Tensor = super()._compute_loss(model, self._loss_inputs)
            if isinstance(self._loss_inputs["old_per_token_logps"], _NotYet):
                raise TrainingError(_OTHER_TRL)
        finally:
            self._loss_inputs = self._sampled_logps = None
        return loss

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        """Within a loss, set `old` so that new - old is its mean over the rank, with gradient.

        The loss asks for log-probabilities before it reads the old ones; until then those are a
        value that nothing can be computed with, so another order fails and does not pass unseen.
        """
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        inputs = self._loss_inputs
        if inputs is not None:
            logps: Tensor = result[0]
            old = logps.detach() if self._sampled_logps is None else self._sampled_logps
            ratio = span_mean(logps - old, inputs["rank_ids"], self.n_ranks)
            inputs["old_per_token_logps"] = logps - ratio
            self._log_clipping(ratio.detach().exp(), inputs)
        return result

    def _log_clipping(self, ratio: Tensor, inputs: dict[str, Any]) -> None:
        """Log, for each rank, the share of its tokens that the clip range takes the gradient of."""
        low = (ratio < 1 - self.epsilon_low) & (inputs["advantages"] < 0)
        high = (ratio > 1 + self.epsilon_high) & (inputs["advantages"] > 0)
        counts = rank_counts(low | high, inputs["rank_ids"], self.n_ranks)
        clipped, tokens = self.accelerator.reduce(counts, reduction="sum").tolist()
        metrics = self._metrics["train" if self.model.training else "eval"]
        for rank in range(self.n_ranks):
            share = clipped[rank] / tokens[rank] if tokens[rank] else float("nan")
            metrics[f"clip_share@rank{rank + 1}"].append(share)


_OTHER_TRL = (
    "TRL's GRPO loss no longer reads the log-probabilities in the order that Rank-GRPO relies on; "
    "install the version in constraints.txt (trl 1.16)"
)


class _NotYet:
    """Stands for the old log-probabilities until they can be known."""

    def __rsub__(self, other: object) -> Tensor:
        raise TrainingError(_OTHER_TRL)
