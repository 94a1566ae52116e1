"""Lists without repeats and without a catalog.

**Distinct.** As `lines`, but each line is drawn given that it is none of those before it. At each
token that only goes towards an earlier line, its share is lowered by what would go on to the line's
end: p(x) becomes p(x)·(1 - tail), where `tail` is the probability of the rest of that line after x,
as it was when the line was written. With tails of this very place that would be the model's own
distribution without those lines; with these it is close. A line that still repeats is taken back
and drawn again from where it began, up to TRIES times: then the repeat stays, so a model that can
say nothing else is not kept waiting.

Log-probabilities are the free model's, not divided by the share of what was not a repeat;
group-relative advantages, whose mean is zero, leave little of that difference.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from convrec.models.generation.constraints import EndAtLines
from convrec.models.generation.loop import TokenChoice
from convrec.models.generation.multinomial import invert
from convrec.titles.line_format import LineFormat
from convrec.titles.normalize import exact_key

TRIES = 8
"""Draws of one line before a repeat is let stand."""

LEAST = 0.02
"""Share that has to be left for something unsaid; where less is, the line is as good as said."""

LineKey = Callable[[tuple[int, ...]], Hashable]
"""What a line's token ids say, equal where two lines name the same."""


class DistinctLines(EndAtLines):
    """`EndAtLines` without repeated lines; `redrawn` of the `drawn` lines were drawn again."""

    redraws = True

    def __init__(self, eos: int, n: int, newline_counts: Tensor, key: LineKey) -> None:
        super().__init__(eos, n, newline_counts)
        self.key = key
        self.drawn = self.redrawn = 0
        self._pages: list[_Page] = []
        self._fresh = torch.empty(0, dtype=torch.bool)
        self._again = torch.empty(0, dtype=torch.bool)
        self._first: Tensor | None = None

    def start(self, count: int, device: torch.device) -> None:
        """No list has a line."""
        super().start(count, device)
        self._pages = [_Page() for _ in range(count)]
        self._fresh = torch.ones(count, dtype=torch.bool, device=device)
        self._again = torch.zeros(count, dtype=torch.bool, device=device)
        self._first = None

    def choose(
        self, logits: Tensor, temperature: float, draws: Tensor, rows: Tensor
    ) -> TokenChoice:
        """One token a list; `back` is how many tokens, with this one, a repeat takes away."""
        logits = self._at_line_starts(logits.float(), rows)
        shares = (logits / temperature if temperature else logits).softmax(dim=-1)
        left = self._unsaid(shares, rows)
        tokens = left.argmax(dim=-1) if temperature == 0 else invert(left, draws)
        logps = shares.gather(1, tokens[:, None])[:, 0].log()
        before = self._lines[rows]
        choice = self.ended(
            TokenChoice(tokens[:, None], logps, rows >= 0, tokens == self.eos), rows
        )
        closed = ((self._lines[rows] > before) | choice.ended).tolist()
        back = [0] * len(closed)
        each = zip(rows.tolist(), tokens.tolist(), logps.exp().tolist(), closed, strict=True)
        for at, (row, token, share, closes) in enumerate(each):
            page = self._pages[row]
            page.add(token, share)
            if closes and page.line != [self.eos]:
                back[at] = self._close(page, greedy=temperature == 0)
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
            self._first = logits.new_empty(len(self._pages), logits.shape[1])
        again, fresh = self._again[rows], self._fresh[rows]
        if again.any():
            logits = torch.where(again[:, None], self._first[rows], logits)
        if fresh.any():
            self._first[rows[fresh]] = logits[fresh]
        return logits

    def _unsaid(self, shares: Tensor, rows: Tensor) -> Tensor:
        """Shares (b, V) without what would go on to an earlier line of the list.

        Where next to nothing would be left, the shares stay: the line will repeat and be taken
        back, and what is left there would not be a line.
        """
        places: list[int] = []
        tokens: list[int] = []
        tails: list[float] = []
        for place, row in enumerate(rows.tolist()):
            for token_id, share in self._pages[row].tails().items():
                places.append(place)
                tokens.append(token_id)
                tails.append(min(share, 1.0))
        if not places:
            return shares
        at, token = (torch.tensor(x, device=shares.device) for x in (places, tokens))
        tail = shares.new_tensor(tails)
        said = shares[at, token] * tail
        left = 1 - shares.new_zeros(len(shares)).index_add(0, at, said)
        said = said.masked_fill(left[at] < LEAST, 0.0)
        return shares.index_put((at, token), -said, accumulate=True).clamp(min=0)

    def _close(self, page: _Page, *, greedy: bool) -> int:
        """Note the line that a list has ended; the number of its tokens if it has to go."""
        said = self.key(tuple(token for token in page.line if token != self.eos))
        self.drawn += 1
        page.tries += 1
        if said in page.said and page.tries < TRIES and not greedy:
            self.redrawn += 1
            return page.take_back()
        page.keep(said)
        return 0


class _Page:
    """One list as it is written: its lines with their shares, and the line it is at."""

    def __init__(self) -> None:
        self.said: set[Hashable] = set()
        self.line: list[int] = []
        self.tries = 0
        self._shares: list[float] = []
        self._written: list[tuple[list[int], list[float]]] = []
        self._alike: list[tuple[list[int], list[float]]] = []

    def add(self, token: int, share: float) -> None:
        """Go on with a token; earlier lines that go on otherwise are no longer alike."""
        at = len(self.line)
        self._alike = [one for one in self._alike if at < len(one[0]) and one[0][at] == token]
        self.line.append(token)
        self._shares.append(share)

    def tails(self) -> dict[int, float]:
        """The tokens with which earlier lines go on from here, and the shares of their rests."""
        found: dict[int, float] = {}
        at = len(self.line)
        for tokens, tails in self._alike:
            if at < len(tokens):
                found[tokens[at]] = found.get(tokens[at], 0.0) + tails[at]
        return found

    def keep(self, said: Hashable) -> None:
        """The line stands; a new one begins."""
        tails, tail = [], 1.0
        for share in reversed(self._shares):
            tails.append(tail)
            tail *= share
        if said not in self.said:
            self._written.append((self.line, tails[::-1]))
        self.said.add(said)
        self.tries = 0
        self._begin()

    def take_back(self) -> int:
        """The line does not stand; how many tokens it had."""
        count = len(self.line)
        self._begin()
        return count

    def _begin(self) -> None:
        self.line, self._shares = [], []
        self._alike = list(self._written)


def line_key(tokenizer: Any, form: LineFormat) -> LineKey:
    """Lines say the same where title (as `exact_key` reads it) and year are equal, or the text."""

    @lru_cache(maxsize=1 << 16)
    def key(ids: tuple[int, ...]) -> Hashable:
        text = tokenizer.decode(list(ids)).split("\n")[0].strip()
        item = form.parse(text)
        return text if item is None else (exact_key(item.title), item.year)

    return key
