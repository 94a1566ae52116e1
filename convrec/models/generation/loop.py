"""The decode loop: a rule chooses tokens, a reader reads them, lists that have ended leave.

An own loop rather than `generate`: the samples of one prompt share its prefill, and lists that have
ended leave the batch. Each list draws from its own row of random numbers, so it does not depend on
which lists happen to share its batch (up to rounding in the matrix products).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from convrec.models.generation.kv_model import CachedModel
from convrec.models.load import is_small


class TokenChoice(NamedTuple):
    """What a rule writes next in each of b lists.

    `tokens` (b, w) is padded with -1 on the left. The first token of a list has log-probability
    `logps` (b,) and was `chosen` (b,) by the model where it had a choice; those after it follow
    without one. `ended` (b,) lists are complete. `back` (b,), where there is one, is how many of a
    list's last tokens are taken back, the one chosen here among them: the list goes on from where
    it then ends, which is the beginning of its list or of a line (`Rule.redraws`).
    """

    tokens: Tensor
    logps: Tensor
    chosen: Tensor
    ended: Tensor
    back: Tensor | None = None


class DecodingConstraint(Protocol):
    """Decides what may be written and when a list ends; `redraws` where lines may be taken back."""

    redraws: bool

    def start(self, count: int, device: torch.device) -> None:
        """Forget all lists and begin `count` new ones."""

    def choose(
        self, logits: Tensor, temperature: float, draws: Tensor, rows: Tensor
    ) -> TokenChoice:
        """The next tokens of the lists `rows` (b,), from logits (b, V) and draws (b,)."""


class GeneratedList(NamedTuple):
    """One list: its token ids, which of them the model chose, and their log-probabilities.

    A token that the model did not choose (`chosen` False, log-probability 0) was put there by the
    rule: it belongs to the text and must not enter a loss.
    """

    ids: list[int]
    chosen: list[bool]
    logps: list[float]


@torch.no_grad()
def write_lists(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    rule: DecodingConstraint,
    *,
    draws: Tensor,
    samples: int = 1,
    temperature: float = 1.0,
) -> list[GeneratedList]:
    """`samples` lists for each prompt (token ids), one prompt's lists next to each other.

    `draws` is (len(prompts) * samples, most tokens of a list), uniform on [0, 1). Temperature 0
    is greedy. The model is left in the mode (train or eval) in which it came.
    """
    with _ready(model):
        reader = CachedModel(model, prompts, samples, draws.shape[1], tokenizer.pad_token_id)
        rule.start(len(draws), model.device)
        return _write(reader, rule, draws.to(model.device), temperature, tokenizer.eos_token_id)


def _write(
    reader: CachedModel, rule: DecodingConstraint, draws: Tensor, temperature: float, eos: int
) -> list[GeneratedList]:
    paper = _Paper(len(draws), draws.shape[1], draws.device)
    batch = torch.arange(len(draws), device=draws.device)  # the list of each row of the reader
    open_ = torch.ones_like(batch, dtype=torch.bool)
    every = True
    step = 0
    while True:
        rows = batch if every else batch[open_]
        logits = reader.logits if every else reader.logits[open_]
        at = paper.length[rows] if not rule.redraws else torch.full_like(rows, step % paper.width)
        choice = rule.choose(logits, temperature, draws[rows, at], rows)
        step += 1
        paper.add(rows, choice)
        if choice.back is not None:
            paper.take_back(rows, choice.back)
            read = choice.back.new_zeros(len(batch))
            reader.forget(read.masked_scatter(open_, (choice.back - 1).clamp(min=0)))
            choice.tokens[choice.back > 0] = -1
        stays = ~choice.ended & (paper.length[rows] < paper.width)
        still = int(stays.sum())
        if still == 0:
            return paper.lists(eos)
        if 4 * still <= 3 * len(batch):
            here = stays if every else open_.masked_scatter(open_, stays)
            batch, open_, tokens = rows[stays], open_[here], choice.tokens[stays]
            reader.keep(here.nonzero().flatten())
        else:
            tokens = choice.tokens
            if not every or still < len(batch):
                spread = tokens.new_full((len(batch), tokens.shape[1]), eos)
                spread[open_] = tokens
                open_, tokens = open_.masked_scatter(open_, stays), spread
        every = still == len(batch)
        reader.read(tokens)


class _Paper:
    """What was written so far: ids (B, T), -1 where nothing is, and what is known of each token."""

    def __init__(self, count: int, width: int, device: torch.device) -> None:
        self.width = width
        self.length = torch.zeros(count, dtype=torch.long, device=device)
        self.ids = torch.full((count, width), -1, device=device)
        self.chosen = torch.zeros(count, width, dtype=torch.bool, device=device)
        self.logps = torch.zeros(count, width, device=device)
        self.ended = torch.zeros(count, dtype=torch.bool, device=device)

    def add(self, rows: Tensor, choice: TokenChoice) -> None:
        at = self.length[rows]
        self.chosen[rows, at] = choice.chosen
        self.logps[rows, at] = choice.logps.to(self.logps.dtype)
        self.ended[rows] = choice.ended
        if choice.tokens.shape[1] == 1:
            self.ids[rows, at] = choice.tokens[:, 0]
            self.length[rows] = at + 1
            return
        present = choice.tokens >= 0
        columns = at[:, None] + present.cumsum(1) - 1
        row, column = present.nonzero(as_tuple=True)
        fits = columns[row, column] < self.width
        row, column = row[fits], column[fits]
        self.ids[rows[row], columns[row, column]] = choice.tokens[row, column]
        self.length[rows] = (at + present.sum(1)).clamp(max=self.width)

    def take_back(self, rows: Tensor, count: Tensor) -> None:
        """Forget the last `count` (b,) tokens of the lists `rows` (b,)."""
        self.length[rows] -= count

    def lists(self, eos: int) -> list[GeneratedList]:
        """All lists; one that its rule ended without an end-of-sequence token gets one."""
        written = []
        columns = (self.ids, self.chosen, self.logps, self.length, self.ended)
        for ids, chosen, logps, length, ended in zip(*(x.tolist() for x in columns), strict=True):
            one = GeneratedList(ids[:length], chosen[:length], logps[:length])
            if ended and one.ids[-1] != eos:
                one = GeneratedList([*one.ids, eos], [*one.chosen, False], [*one.logps, 0.0])
            written.append(one)
        return written


@contextmanager
def _ready(model: Any) -> Iterator[None]:
    """The model in eval mode, a small one on one thread (its operations are too short for two)."""
    was_training, threads = model.training, torch.get_num_threads()
    model.eval()
    if is_small(model):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        model.train(was_training)
        torch.set_num_threads(threads)
