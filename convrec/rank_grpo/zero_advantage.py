"""Leaves lists without any advantage out of a loss: their gradient is zero.

Where no list of a group has a hit, or all have the same, every advantage of the group is zero. With
sparse rewards that is most groups. Without a KL term nothing else pulls at their tokens, so the
model need not read them. The gradient is the same, up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from convrec.models.hardware import is_small

_AVERAGES_LISTS = frozenset({"grpo", "dr_grpo"})
"""TRL's loss types that divide by the number of lists."""

_SUMS_TOKENS = frozenset({"dapo"})
"""TRL's loss types whose divisor does not depend on the lists of a micro-batch."""


class ZeroAdvantageFilter(GRPOTrainer):
    """GRPO that computes the loss of a micro-batch from its lists with an advantage.

    Entropies and clip shares are then of these lists. Nothing is left out with a KL term, with
    several processes (all must take part in a step), and for small models, where it saves nothing.
    """

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        """TRL's loss of the lists with an advantage, times their share where it is a mean."""
        pulled = self._has_gradient(inputs)
        if not self._may_leave_out(model) or bool(pulled.all()):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if not pulled.any():  # zero, with a zero gradient for every weight
            trained = [p.flatten()[0] for p in model.parameters() if p.requires_grad]
            return 0 * torch.stack(trained).sum()
        lists = len(pulled)
        kept = {
            name: value[pulled]
            if isinstance(value, Tensor) and value.dim() and len(value) == lists
            else value
            for name, value in inputs.items()
        }
        loss: Tensor = super().compute_loss(model, kept, return_outputs, num_items_in_batch)
        share = pulled.float().mean().item() if self.loss_type in _AVERAGES_LISTS else 1.0
        return loss * share

    def _has_gradient(self, inputs: dict[str, Any]) -> Tensor:
        """Whether a list has a token with an advantage: (B,)."""
        advantages: Tensor = inputs["advantages"]  # (B,) or (B, T)
        return advantages.view(len(advantages), -1).any(dim=1)

    def _may_leave_out(self, model: Any) -> bool:
        return (
            bool(model.training)
            and self.beta == 0
            and self.loss_type in _AVERAGES_LISTS | _SUMS_TOKENS
            and self.top_entropy_quantile == 1
            and not self._entropy_bonus_enabled
            and self.accelerator.num_processes == 1
            and not is_small(self.model)
        )
