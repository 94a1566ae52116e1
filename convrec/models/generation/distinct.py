"""Lists without repeated lines and without a catalog.

As `StopAfterLines`, but each line is sampled given that it differs from those before it. While the
current line can still become an earlier line, the probability of the token toward it, p(x), becomes
p(x)·(1 - tail). `tail` is the probability of the rest of the earlier line after x, as it was when
that line was sampled, so the result is close to the model's distribution without the earlier lines.
A line that still repeats is rolled back and sampled again, up to MAX_DRAWS times. Then the repeat
stays, so a model that can generate nothing else does not loop.

Log-probabilities are the unconstrained model's, not renormalized by the probability of a repeat.
Group-relative advantages have zero mean, so most of that difference cancels
(`benchmarks/distinct_gradient.py` compares both gradients with the exact one).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from convrec.models.generation.loop import TokenChoice
from convrec.models.generation.multinomial import sample_inverse_cdf
from convrec.models.generation.without_catalog import StopAfterLines
from convrec.titles.line_format import LineFormat
from convrec.titles.normalize import exact_key

MAX_DRAWS = 8
"""Samples of one line before a repeat is kept."""

MIN_REMAINING = 0.02
"""Probability that must remain for other lines; below it, the line is bound to repeat."""

LineKey = Callable[[tuple[int, ...]], Hashable]
"""From a line's token ids to a key that is equal for lines that name the same item."""


class DistinctLines(StopAfterLines):
    """`StopAfterLines` without repeats; `redrawn` of the `drawn` lines were rolled back."""

    can_rollback = True

    def __init__(self, eos: int, n: int, newline_counts: Tensor, key: LineKey) -> None:
        super().__init__(eos, n, newline_counts)
        self.key = key
        self.drawn = self.redrawn = 0
        self._lists: list[_ListState] = []
        self._at_line_start = torch.empty(0, dtype=torch.bool)  # (B,)
        self._rolled_back = torch.empty(0, dtype=torch.bool)  # (B,)
        self._line_start_logits: Tensor | None = None  # (B, V)

    def reset(self, count: int, device: torch.device) -> None:
        """Start `count` lists without lines."""
        super().reset(count, device)
        self._lists = [_ListState() for _ in range(count)]
        self._at_line_start = torch.ones(count, dtype=torch.bool, device=device)
        self._rolled_back = torch.zeros(count, dtype=torch.bool, device=device)
        self._line_start_logits = None

    def choose_tokens(
        self, logits: Tensor, temperature: float, draws: Tensor, rows: Tensor
    ) -> TokenChoice:
        """One token per list; a repeated line is rolled back as a whole, this token included."""
        logits = self._restore_line_start(logits.float(), rows)
        probs = (logits / (temperature or 1.0)).softmax(dim=-1)
        reduced = self._without_repeats(probs, rows)
        tokens = reduced.argmax(dim=-1) if temperature == 0 else sample_inverse_cdf(reduced, draws)
        logps = probs.gather(1, tokens[:, None])[:, 0].log()
        lines_before = self._line_count[rows]
        choice = self._end_full_lists(
            TokenChoice(tokens[:, None], logps, rows >= 0, tokens == self.eos), rows
        )
        closes_line = (self._line_count[rows] > lines_before) | choice.ended
        counts = self._record(rows, tokens, logps, closes_line, greedy=temperature == 0)
        rollback = torch.tensor(counts, device=rows.device)
        is_repeat = rollback > 0
        self._rolled_back[rows] = is_repeat
        self._at_line_start[rows] = (self._line_count[rows] > lines_before) & ~is_repeat
        if not any(counts):
            return choice
        self._line_count[rows] = torch.where(is_repeat, lines_before, self._line_count[rows])
        return choice._replace(ended=choice.ended & ~is_repeat, rollback=rollback)

    def _restore_line_start(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Store the logits at the start of each line; after a rollback, return the stored ones."""
        if self._line_start_logits is None:
            self._line_start_logits = logits.new_empty(len(self._lists), logits.shape[1])
        again, starts = self._rolled_back[rows], self._at_line_start[rows]
        if again.any():
            logits = torch.where(again[:, None], self._line_start_logits[rows], logits)
        if starts.any():
            self._line_start_logits[rows[starts]] = logits[starts]
        return logits

    def _without_repeats(self, probs: Tensor, rows: Tensor) -> Tensor:
        """Reduce the probabilities (b, V) by what leads to an earlier line of the list.

        If next to nothing would remain, they stay: the line will repeat and be rolled back.
        """
        reductions = [
            (place, token_id, min(tail_prob, 1.0))
            for place, row in enumerate(rows.tolist())
            for token_id, tail_prob in self._lists[row].tails().items()
        ]
        if not reductions:
            return probs
        places, tokens, tails = zip(*reductions, strict=True)
        at, token = (torch.tensor(x, device=probs.device) for x in (places, tokens))
        repeat = probs[at, token] * probs.new_tensor(tails)
        remaining = 1 - probs.new_zeros(len(probs)).index_add(0, at, repeat)
        repeat = repeat.masked_fill(remaining[at] < MIN_REMAINING, 0.0)
        return probs.index_put((at, token), -repeat, accumulate=True).clamp(min=0)

    def _record(
        self, rows: Tensor, tokens: Tensor, logps: Tensor, closes_line: Tensor, *, greedy: bool
    ) -> list[int]:
        """Add the tokens to their lists; the number of tokens to roll back in each list."""
        rollback = [0] * len(rows)
        columns = (rows, tokens, logps.exp(), closes_line)
        for i, (row, token, prob, closes) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        ):
            state = self._lists[row]
            state.add_token(token, prob)
            if closes and state.line != [self.eos]:
                key = self.key(tuple(token for token in state.line if token != self.eos))
                self.drawn += 1
                state.draws += 1
                if key in state.keys and state.draws < MAX_DRAWS and not greedy:
                    self.redrawn += 1
                    rollback[i] = len(state.line)
                    state.start_line()
                else:
                    state.accept_line(key)
        return rollback


class _ListState:
    """The lines of one list with their token probabilities, and its current line."""

    def __init__(self) -> None:
        self.keys: set[Hashable] = set()
        self.line: list[int] = []
        self.draws = 0
        self._probs: list[float] = []
        self._earlier: list[tuple[list[int], list[float]]] = []  # tokens and tails
        self._matching: list[tuple[list[int], list[float]]] = []  # those that start like `line`

    def add_token(self, token: int, prob: float) -> None:
        """Continue the line; earlier lines that continue otherwise no longer match."""
        at = len(self.line)
        self._matching = [x for x in self._matching if at < len(x[0]) and x[0][at] == token]
        self.line.append(token)
        self._probs.append(prob)

    def tails(self) -> dict[int, float]:
        """The next tokens of matching lines, and the probabilities of the rests after them."""
        tails: dict[int, float] = {}
        at = len(self.line)
        for tokens, line_tails in self._matching:
            if at < len(tokens):
                tails[tokens[at]] = tails.get(tokens[at], 0.0) + line_tails[at]
        return tails

    def accept_line(self, key: Hashable) -> None:
        """Keep the line and start the next one."""
        tails, tail = [], 1.0
        for prob in reversed(self._probs):
            tails.append(tail)
            tail *= prob
        if key not in self.keys:
            self._earlier.append((self.line, tails[::-1]))
        self.keys.add(key)
        self.draws = 0
        self.start_line()

    def start_line(self) -> None:
        """Start a line, without the current one."""
        self.line, self._probs = [], []
        self._matching = list(self._earlier)


def line_key(tokenizer: Any, line_format: LineFormat) -> LineKey:
    """A key by title (`exact_key`) and year, or by the text of a line that does not parse."""

    @lru_cache(maxsize=1 << 16)
    def key(ids: tuple[int, ...]) -> Hashable:
        text = tokenizer.decode(list(ids)).split("\n")[0].strip()
        item = line_format.parse(text)
        return text if item is None else (exact_key(item.title), item.year)

    return key
