"""Decoding without a catalog: unconstrained, or stopped after N lines.

A stopped list ends with the token whose newline closes line N, which the model chose. The EOS after
it is added: it is marked as not chosen and must be masked out of a loss. An EOS that the model
generates itself, at any rank, is chosen.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convrec.models.generation.loop import TokenChoice
from convrec.models.generation.multinomial import sample_tokens


class Unconstrained:
    """The model alone, up to its EOS."""

    can_rollback = False

    def __init__(self, eos: int) -> None:
        self.eos = eos

    def reset(self, count: int, device: torch.device) -> None:
        """Start `count` lists; there is no state to reset."""

    def choose_tokens(
        self, logits: Tensor, temperature: float, draws: Tensor, rows: Tensor
    ) -> TokenChoice:
        """One token per list."""
        tokens, logps = sample_tokens(logits, temperature, draws)
        return TokenChoice(tokens[:, None], logps, torch.ones_like(rows).bool(), tokens == self.eos)


class StopAfterLines(Unconstrained):
    """The model alone, stopped once the newline after line `n` is generated.

    Token ids beyond `newline_counts` (models have more ids than their tokenizers) have no newline.
    """

    def __init__(self, eos: int, n: int, newline_counts: Tensor) -> None:
        super().__init__(eos)
        self.n = n
        self.newline_counts = torch.cat([newline_counts, newline_counts.new_zeros(1)])
        self._line_count = torch.empty(0, dtype=torch.long)  # (B,)

    def reset(self, count: int, device: torch.device) -> None:
        """Start `count` lists without lines."""
        self._line_count = torch.zeros(count, dtype=torch.long, device=device)
        self.newline_counts = self.newline_counts.to(device)

    def choose_tokens(
        self, logits: Tensor, temperature: float, draws: Tensor, rows: Tensor
    ) -> TokenChoice:
        """One token per list; the N-th newline ends it."""
        return self._end_full_lists(super().choose_tokens(logits, temperature, draws, rows), rows)

    def _end_full_lists(self, choice: TokenChoice, rows: Tensor) -> TokenChoice:
        """Count the newlines of a choice of one token per list; end the lists that have N."""
        ids = choice.tokens[:, 0].clamp(max=len(self.newline_counts) - 1)
        self._line_count[rows] += self.newline_counts[ids]
        return choice._replace(ended=choice.ended | (self._line_count[rows] >= self.n))


def count_newlines(tokenizer: Any, vocabulary: int) -> Tensor:
    """Newlines in the text of each token id: (vocabulary,) long, 0 for ids without text."""
    texts = tokenizer.batch_decode([[i] for i in range(min(len(tokenizer), vocabulary))])
    counts = torch.zeros(vocabulary, dtype=torch.long)
    counts[: len(texts)] = torch.tensor([text.count("\n") for text in texts])
    return counts
