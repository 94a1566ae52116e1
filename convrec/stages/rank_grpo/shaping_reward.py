"""The terms that shape Rank-GRPO's lists, as a reward of the algorithms that reward whole lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from convrec.models.generation.without_catalog import count_newlines
from convrec.rank_grpo.advantages import Shaping, list_shaping
from convrec.rank_grpo.segments import segment_ranks
from convrec.stages.rank_grpo.reward_function import ListScorer


class ShapingReward:
    """`list_shaping` of each completion, as a TRL reward function.

    Attributes:
        eos_ids: The tokens that end a list. Set them before the first call.
    """

    __name__ = "shaping"
    """The name of the reward in TRL's logs."""

    def __init__(
        self, scorer: ListScorer, rollout: Any, shaping: Shaping, tokenizer: Any, vocabulary: int
    ) -> None:
        self.scorer = scorer
        self.rollout = rollout
        self.shaping = shaping
        self.eos_ids: list[int] = [tokenizer.eos_token_id]
        self._newline_counts = count_newlines(tokenizer, vocabulary)

    def __call__(
        self,
        *,
        completions: list[str],
        completion_ids: list[list[int]],
        seen: list[Any],
        ground_truth: list[Any],
        **_: Any,
    ) -> list[float]:
        """One value for each completion."""
        rows = [
            {"seen": titles, "ground_truth": truths}
            for titles, truths in zip(seen, ground_truth, strict=True)
        ]
        faults = torch.tensor(list(map(self.scorer.rank_faults, completions, rows)))  # (B, N)
        ids = _padded(completion_ids)  # (B, T), 0 on padding
        mask = _padded([[1] * len(tokens) for tokens in completion_ids])
        segments = segment_ranks(ids, mask, self._newline_counts)
        newlines = self._newline_counts[ids]
        eos = torch.isin(ids, torch.tensor(self.eos_ids)) & mask.bool()
        values: list[float] = list_shaping(
            segments, eos, newlines, self._chosen(mask), faults, self.shaping
        ).tolist()
        return values

    def _chosen(self, mask: Tensor) -> Tensor:
        """The tokens that the model chose: (B, T); vLLM adds none."""
        lists = getattr(self.rollout, "lists", None)
        return mask if not lists else _padded([list(map(int, one.chosen)) for one in lists])


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
