"""Rules without a catalog: the free model, and one whose list ends at N lines.

**Lines.** A list ends with the token whose newline closes line N. That token stays: the model chose
it, its log-probability is the free model's, and a trainer may shape it (it says "go on" where EOS
was due). The end-of-sequence that follows takes the place of whatever the model would have written
next; nobody chose it, so it is marked as not chosen, must be masked out of a loss, and has no
shaping. An end-of-sequence that the model writes itself is chosen, at line N as before it: an early
end stays possible, and is the model's own mistake.
"""

from __future__ import annotations

import torch
from torch import Tensor

from convrec.models.generation.loop import TokenChoice
from convrec.models.generation.multinomial import choose


class Free:
    """What the model says by itself, up to its end-of-sequence token."""

    redraws = False

    def __init__(self, eos: int) -> None:
        self.eos = eos

    def start(self, count: int, device: torch.device) -> None:
        """Nothing is remembered."""

    def choose(
        self, logits: Tensor, temperature: float, draws: Tensor, rows: Tensor
    ) -> TokenChoice:
        """One token a list."""
        tokens, logps = choose(logits, temperature, draws)
        return TokenChoice(tokens[:, None], logps, torch.ones_like(rows).bool(), tokens == self.eos)


class EndAtLines(Free):
    """The free model, whose list ends when the newline after line `n` is written.

    `newline_counts` is how many newlines the text of each token has, from
    `convrec.models.tokens.newline_counts`; an id past its end (models have more of them than
    their tokenizers) has none.
    """

    def __init__(self, eos: int, n: int, newline_counts: Tensor) -> None:
        super().__init__(eos)
        self.n = n
        self.newline_counts = torch.cat([newline_counts, newline_counts.new_zeros(1)])
        self._lines = torch.empty(0, dtype=torch.long)

    def start(self, count: int, device: torch.device) -> None:
        """No list has a line."""
        self._lines = torch.zeros(count, dtype=torch.long, device=device)
        self.newline_counts = self.newline_counts.to(device)

    def choose(
        self, logits: Tensor, temperature: float, draws: Tensor, rows: Tensor
    ) -> TokenChoice:
        """One token a list; the N-th newline ends it."""
        return self.ended(super().choose(logits, temperature, draws, rows), rows)

    def ended(self, choice: TokenChoice, rows: Tensor) -> TokenChoice:
        """The choice of one token a list, which ends those that now have N lines."""
        known = choice.tokens[:, 0].clamp(max=len(self.newline_counts) - 1)
        self._lines[rows] += self.newline_counts[known]
        return choice._replace(ended=choice.ended | (self._lines[rows] >= self.n))
