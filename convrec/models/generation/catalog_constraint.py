"""Lists that are valid by construction: catalog lines only, no repeats, nothing seen, exactly N.

A trie over the tokens of the catalog's lines says which tokens can come next. The model chooses
among them by its own probabilities, renormalized; `masked_logprobs` computes these with a gradient.
A token without an alternative is forced. The result is the lines themselves, not decoded text, so
they are in the catalog even if the tokenizer cannot reproduce a title.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from convrec.models.generation.catalog_lines import CatalogLines, LineForms
from convrec.models.generation.kv_model import SMALL_BATCH
from convrec.models.generation.loop import TokenChoice, generate_lists
from convrec.models.generation.multinomial import uniform_draws
from convrec.models.generation.trie import TrieCursor
from convrec.models.load import Student


class CatalogConstraint:
    """Lists of `n` lines of a catalog; `excluded` (B, lines) bool marks lines not to be used."""

    can_rollback = False

    def __init__(self, catalog: CatalogLines, n: int, excluded: Tensor) -> None:
        self.catalog = catalog
        self.n = n
        self.excluded = excluded
        self._append_forced = False
        self._cursor: TrieCursor

    def reset(self, count: int, device: torch.device) -> None:
        """Start `count` empty lists, one per row of `excluded`."""
        excluded = self.excluded.to(device)
        if len(excluded) != count:
            raise ValueError(f"`excluded` has {len(excluded)} rows, but there are {count} lists")
        self._cursor = TrieCursor(self.catalog.trie.to(device), LineForms.by_rank(self.n), excluded)
        # In larger batches the padding costs more than the saved forward passes.
        self._append_forced = count <= SMALL_BATCH

    def choose_tokens(
        self, logits: Tensor, temperature: float, draws: Tensor, rows: Tensor
    ) -> TokenChoice:
        """The next token of each list; in small batches also the forced tokens after it."""
        tokens, child, allowed = self._cursor.options(rows)
        slots, logps = sample_allowed(logits, tokens, allowed, temperature, draws)
        had_choice = allowed.sum(dim=1) > 1
        ended = self._cursor.advance(rows, child.gather(1, slots)[:, 0])
        chosen = tokens.gather(1, slots)
        if self._append_forced:
            chosen, ended = self._with_forced(rows, chosen, ended)
        return TokenChoice(chosen, logps.masked_fill(~had_choice, 0.0), had_choice, ended)

    def generated_lines(self) -> list[list[str]]:
        """The lines of each list so far."""
        rows = self._cursor.generated.tolist()
        return [[self.catalog.lines[i] for i in row if i >= 0] for row in rows]

    def _with_forced(self, rows: Tensor, tokens: Tensor, ended: Tensor) -> tuple[Tensor, Tensor]:
        """Append tokens while only one is allowed.

        Returns tokens (b, w), padded with -1 on the left, and ended (b,).
        """
        runs = [[token] for token in tokens[:, 0].tolist()]
        ended = ended.clone()
        for i, row in enumerate(rows):
            while not ended[i]:
                options, child, allowed = self._cursor.options(row[None])
                if int(allowed.sum()) > 1:
                    break
                runs[i].append(int(options[allowed]))
                ended[i] = self._cursor.advance(row[None], child[allowed])[0]
        width = max(map(len, runs))
        padded = [[-1] * (width - len(run)) + run for run in runs]
        return torch.tensor(padded, device=tokens.device), ended


def sample_allowed(
    logits: Tensor, tokens: Tensor, allowed: Tensor, temperature: float, draws: Tensor
) -> tuple[Tensor, Tensor]:
    """Sample one allowed token per row: its slot (b, 1) and its log-probability among them (b,).

    `tokens` and `allowed` are (b, k), sorted by token, so a draw selects what it would select from
    the whole vocabulary with all other logits at minus infinity. Temperature 0 is greedy.
    """
    scaled = logits.gather(1, tokens).double().masked_fill(~allowed, -torch.inf)
    logps = (scaled / (temperature or 1.0)).log_softmax(dim=1)
    if temperature == 0:
        slots = scaled.argmax(dim=1, keepdim=True)
    else:
        cumulative = logps.exp().cumsum(dim=1)
        target = draws[:, None].double() * cumulative[:, -1:]
        last = (allowed * torch.arange(allowed.shape[1], device=allowed.device)).argmax(dim=1)
        slots = torch.searchsorted(cumulative, target, right=True)
        slots = torch.minimum(slots, last[:, None])
    return slots, logps.gather(1, slots)[:, 0]


def generate_constrained(
    student: Student,
    prompts: Sequence[Sequence[int]],
    constraint: CatalogConstraint,
    *,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[list[str]]:
    """The lines of `samples` lists for each prompt (token ids)."""
    max_tokens = constraint.catalog.max_tokens(constraint.n)
    draws = uniform_draws(len(prompts) * samples, max_tokens, seed)
    generate_lists(
        *student, prompts, constraint, draws=draws, samples=samples, temperature=temperature
    )
    return constraint.generated_lines()
