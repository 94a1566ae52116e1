"""The decode loop: a constraint chooses tokens, the model reads them, finished lists leave.

Unlike in transformers' `generate`, the samples of a prompt share its prefill, and lists that have
ended leave the batch. Each list draws from its own row of random numbers, so it does not depend on
the other lists in its batch (up to rounding).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from convrec.models.generation.kv_model import CachedModel
from convrec.models.hardware import is_small


class TokenChoice(NamedTuple):
    """The next tokens of each of b lists, as chosen by a constraint.

    `tokens` (b, w) is padded with -1 on the left. The first token of a list has log-probability
    `logps` (b,) and was `chosen` (b,) if the model had a choice; the tokens after it are forced.
    `ended` (b,) lists are complete. `rollback` (b,) is the number of tokens to remove from the end
    of each list, this choice included, back to the start of a line.
    """

    tokens: Tensor
    logps: Tensor
    chosen: Tensor
    ended: Tensor
    rollback: Tensor | None = None


class DecodingConstraint(Protocol):
    """Decides which tokens are allowed and when a list ends."""

    can_rollback: bool  # whether it can return a `TokenChoice.rollback`

    def reset(self, count: int, device: torch.device) -> None:
        """Drop all state and start `count` lists."""

    def choose_tokens(
        self, logits: Tensor, temperature: float, draws: Tensor, rows: Tensor
    ) -> TokenChoice:
        """The next tokens of the lists `rows` (b,), from logits (b, V) and draws (b,)."""


class GeneratedList(NamedTuple):
    """One list: token ids, whether the model chose each of them, and their log-probabilities.

    A token that is not `chosen` was forced: its log-probability is 0, and no loss may include it.
    """

    ids: list[int]
    chosen: list[bool]
    logps: list[float]


@torch.no_grad()
def generate_lists(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    constraint: DecodingConstraint,
    *,
    draws: Tensor,
    samples: int = 1,
    temperature: float = 1.0,
) -> list[GeneratedList]:
    """`samples` lists for each prompt (token ids), the lists of a prompt adjacent.

    `draws` is (len(prompts) * samples, maximum tokens per list), uniform on [0, 1). Temperature 0
    is greedy. The model's mode (train or eval) is restored afterwards.
    """
    with _eval_mode(model):
        cached = CachedModel(model, prompts, samples, draws.shape[1], tokenizer.pad_token_id)
        constraint.reset(len(draws), model.device)
        return _decode(
            cached, constraint, draws.to(model.device), temperature, tokenizer.eos_token_id
        )


def _decode(
    cached: CachedModel, constraint: DecodingConstraint, draws: Tensor, temperature: float, eos: int
) -> list[GeneratedList]:
    """Generate until every list has ended or is full.

    Lists that have ended stay in the model's batch, fed with EOS, until a quarter of it has ended.
    """
    output = _Output(len(draws), draws.shape[1], draws.device)
    batch = torch.arange(len(draws), device=draws.device)  # the list in each row of the model
    active = torch.ones_like(batch, dtype=torch.bool)  # the rows whose list has not ended
    all_active = True
    step = 0
    while True:
        rows = batch if all_active else batch[active]
        logits = cached.logits if all_active else cached.logits[active]
        column = (
            torch.full_like(rows, step % output.width)
            if constraint.can_rollback
            else output.length[rows]
        )
        choice = constraint.choose_tokens(logits, temperature, draws[rows, column], rows)
        step += 1
        output.append(rows, choice)
        if choice.rollback is not None:
            output.length[rows] -= choice.rollback
            in_cache = choice.rollback.new_zeros(len(batch))
            cached.rollback(in_cache.masked_scatter(active, (choice.rollback - 1).clamp(min=0)))
            choice.tokens[choice.rollback > 0] = -1
        stays = ~choice.ended & (output.length[rows] < output.width)
        remaining = int(stays.sum())
        if remaining == 0:
            return output.to_lists(eos)
        if 4 * remaining <= 3 * len(batch):
            kept = stays if all_active else active.masked_scatter(active, stays)
            batch, active, tokens = rows[stays], active[kept], choice.tokens[stays]
            cached.select(kept.nonzero().flatten())
        else:
            tokens = choice.tokens
            if not all_active or remaining < len(batch):
                fed = tokens.new_full((len(batch), tokens.shape[1]), eos)
                fed[active] = tokens
                active, tokens = active.masked_scatter(active, stays), fed
        all_active = remaining == len(batch)
        cached.read(tokens)


class _Output:
    """The lists generated so far: ids (B, T), -1 where empty, and the facts about each token."""

    def __init__(self, count: int, width: int, device: torch.device) -> None:
        self.width = width
        self.length = torch.zeros(count, dtype=torch.long, device=device)
        self._ids = torch.full((count, width), -1, device=device)
        self._chosen = torch.zeros(count, width, dtype=torch.bool, device=device)
        self._logps = torch.zeros(count, width, device=device)
        self._ended = torch.zeros(count, dtype=torch.bool, device=device)

    def append(self, rows: Tensor, choice: TokenChoice) -> None:
        """Append a choice to the lists `rows` (b,); tokens past the width are dropped."""
        start = self.length[rows]
        self._chosen[rows, start] = choice.chosen
        self._logps[rows, start] = choice.logps.to(self._logps.dtype)
        self._ended[rows] = choice.ended
        if choice.tokens.shape[1] == 1:
            self._ids[rows, start] = choice.tokens[:, 0]
            self.length[rows] = start + 1
            return
        present = choice.tokens >= 0
        columns = start[:, None] + present.cumsum(1) - 1
        row, column = present.nonzero(as_tuple=True)
        fits = columns[row, column] < self.width
        row, column = row[fits], column[fits]
        self._ids[rows[row], columns[row, column]] = choice.tokens[row, column]
        self.length[rows] = (start + present.sum(1)).clamp(max=self.width)

    def to_lists(self, eos: int) -> list[GeneratedList]:
        """All lists; one that its constraint ended without EOS gets one."""
        lists = []
        columns = (self._ids, self._chosen, self._logps, self.length, self._ended)
        for ids, chosen, logps, length, ended in zip(*(x.tolist() for x in columns), strict=True):
            added = ended and ids[length - 1] != eos
            lists.append(
                GeneratedList(
                    ids[:length] + [eos] * added,
                    chosen[:length] + [False] * added,
                    logps[:length] + [0.0] * added,
                )
            )
        return lists


@contextmanager
def _eval_mode(model: Any) -> Iterator[None]:
    """Set eval mode; a small model runs on one thread (its operations are too short for two)."""
    was_training, threads = model.training, torch.get_num_threads()
    model.eval()
    if is_small(model):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        model.train(was_training)
        torch.set_num_threads(threads)
