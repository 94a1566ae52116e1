"""Lists without repeats and without a catalog: a line that the list has already is drawn again.

**Distinct.** As `lines`, and when a list ends a line that says what an earlier one says, the
line is taken back and drawn anew from where it began: rejection sampling, so a line comes with the
model's own probability given that it is none of those before. After TRIES draws of one line the
repeat stays: a model that can say nothing else is not kept waiting. Log-probabilities are the free
model's, not divided by the share of what was not a repeat; group-relative advantages, whose mean
is zero, leave little of that difference.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from convrec.catalog.titles import exact_key
from convrec.decoding.rules import EndAtLines
from convrec.decoding.writing import Choice
from convrec.lists import LineFormat

TRIES = 8
"""Draws of one line before a repeat is let stand."""

LineKey = Callable[[tuple[int, ...]], Hashable]
"""What a line's token ids say, equal where two lines name the same."""


class DistinctLines(EndAtLines):
    """`EndAtLines`, whose repeated lines are drawn again; `redrawn` of `drawn` lines were."""

    redraws = True

    def __init__(self, eos: int, n: int, newline_counts: Tensor, key: LineKey) -> None:
        super().__init__(eos, n, newline_counts)
        self.key = key
        self.drawn = self.redrawn = 0
        self._said: list[set[Hashable]] = []
        self._line: list[list[int]] = []
        self._tries: list[int] = []
        self._fresh = torch.empty(0, dtype=torch.bool)
        self._again = torch.empty(0, dtype=torch.bool)
        self._first: Tensor | None = None

    def start(self, count: int, device: torch.device) -> None:
        """No list has a line."""
        super().start(count, device)
        self._said = [set() for _ in range(count)]
        self._line = [[] for _ in range(count)]
        self._tries = [0] * count
        self._fresh = torch.ones(count, dtype=torch.bool, device=device)
        self._again = torch.zeros(count, dtype=torch.bool, device=device)
        self._first = None

    def choose(self, logits: Tensor, temperature: float, draws: Tensor, rows: Tensor) -> Choice:
        """One token a list; `back` is how many tokens, with this one, a repeat takes away."""
        logits = self._at_line_starts(logits, rows)
        before = self._lines[rows]
        choice = super().choose(logits, temperature, draws, rows)
        closed = ((self._lines[rows] > before) | choice.ended).tolist()
        back = [0] * len(closed)
        tokens = choice.tokens[:, 0].tolist()
        for at, (row, token, closes) in enumerate(zip(rows.tolist(), tokens, closed, strict=True)):
            self._line[row].append(token)
            if closes and not (token == self.eos and len(self._line[row]) == 1):
                back[at] = self._close(row, greedy=temperature == 0)
        taken = torch.tensor(back, device=rows.device)
        again = taken > 0
        self._again[rows] = again
        self._fresh[rows] = (self._lines[rows] > before) & ~again
        if not any(back):
            return choice
        self._lines[rows] = torch.where(again, before, self._lines[rows])
        return choice._replace(ended=choice.ended & ~again, back=taken)

    def _at_line_starts(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Keep the logits with which lines begin, and put them where a line begins again."""
        if self._first is None:
            self._first = logits.new_empty(len(self._line), logits.shape[1])
        again, fresh = self._again[rows], self._fresh[rows]
        if again.any():
            logits = torch.where(again[:, None], self._first[rows], logits)
        if fresh.any():
            self._first[rows[fresh]] = logits[fresh]
        return logits

    def _close(self, row: int, *, greedy: bool) -> int:
        """Note the line that the list has ended; the number of its tokens if it has to go."""
        line = self._line[row]
        said = self.key(tuple(token for token in line if token != self.eos))
        self.drawn += 1
        self._tries[row] += 1
        self._line[row] = []
        if said in self._said[row] and self._tries[row] < TRIES and not greedy:
            self.redrawn += 1
            return len(line)
        self._said[row].add(said)
        self._tries[row] = 0
        return 0


def line_key(tokenizer: Any, form: LineFormat) -> LineKey:
    """Lines say the same where title (as `exact_key` reads it) and year are equal, or the text."""

    @lru_cache(maxsize=1 << 16)
    def key(ids: tuple[int, ...]) -> Hashable:
        text = tokenizer.decode(list(ids)).split("\n")[0].strip()
        item = form.parse(text)
        return text if item is None else (exact_key(item.title), item.year)

    return key
