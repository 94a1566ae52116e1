"""Lists that can only be right: catalog lines, no repeats, nothing seen, exactly N.

A trie over the tokens of the catalog's lines says which tokens may come next; a line that was
written leaves it, and the list ends after line N. The model chooses among what may come by its own
probabilities, renormalised; where one token only may come, nothing is asked. The log-probability of
a chosen token is that under this mask, and `convrec.models.generation.masked_logprobs` computes the
same with a gradient. What comes out are the lines themselves, never decoded text, so they are in
the catalog even for a tokenizer that cannot reproduce a title.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from convrec.config import Config
from convrec.models.generation.catalog_lines import CatalogLines, Forms
from convrec.models.generation.kv_model import FEW
from convrec.models.generation.loop import TokenChoice, write_lists
from convrec.models.generation.trie import Walk
from convrec.models.load import Student, load_checkpoint
from convrec.models.prompts import encode_prompt


class FromCatalog:
    """Lists of `n` lines of a catalog; `closed` (B, lines) are those that each may not have."""

    redraws = False

    def __init__(self, catalog: CatalogLines, n: int, closed: Tensor) -> None:
        self.catalog = catalog
        self.n = n
        self.closed = closed
        self._ahead = False
        self.walk = Walk(catalog.trie, Forms.of_ranks(n), closed[:0])

    def start(self, count: int, device: torch.device) -> None:
        """All lists are empty."""
        closed = self.closed.to(device)
        if len(closed) != count:
            raise ValueError(f"closed lines are given for {len(closed)} lists, not for {count}")
        self.walk = Walk(self.catalog.trie.to(device), Forms.of_ranks(self.n), closed)
        self._ahead = count <= FEW  # with more, the padding costs more than the passes saved

    def choose(
        self, logits: Tensor, temperature: float, draws: Tensor, rows: Tensor
    ) -> TokenChoice:
        """The next token of each list, and those that must follow it where lists are few."""
        tokens, child, allowed = self.walk.options(rows)
        slots, logps = choose_among(logits, tokens, allowed, temperature, draws)
        free = allowed.sum(dim=1) > 1
        ended = self.walk.step(rows, child.gather(1, slots)[:, 0])
        column = tokens.gather(1, slots)
        if self._ahead:
            column, ended = self._follow(rows, column, ended)
        return TokenChoice(column, logps.masked_fill(~free, 0.0), free, ended)

    def lists(self) -> list[list[str]]:
        """The lines that were written, list by list."""
        return [
            [self.catalog.lines[i] for i in row if i >= 0] for row in self.walk.written.tolist()
        ]

    def _follow(self, rows: Tensor, tokens: Tensor, ended: Tensor) -> tuple[Tensor, Tensor]:
        """Go on as long as one token only may come: tokens (b, w), -1 on the left, and ended."""
        runs = [[token] for token in tokens[:, 0].tolist()]
        ended = ended.clone()
        for place, row in enumerate(rows):
            while not ended[place]:
                options, child, allowed = self.walk.options(row[None])
                if int(allowed.sum()) > 1:
                    break
                runs[place].append(int(options[allowed]))
                ended[place] = self.walk.step(row[None], child[allowed])[0]
        width = max(map(len, runs))
        padded = [[-1] * (width - len(run)) + run for run in runs]
        return torch.tensor(padded, device=tokens.device), ended


def choose_among(
    logits: Tensor, tokens: Tensor, allowed: Tensor, temperature: float, draws: Tensor
) -> tuple[Tensor, Tensor]:
    """One of each row's allowed tokens: its slot (b, 1), and its log-probability among them (b,).

    `tokens` and `allowed` are (b, k), sorted by token, so that a draw takes what it would take from
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


def write_constrained(
    student: Student,
    prompts: Sequence[Sequence[int]],
    rule: FromCatalog,
    *,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[list[str]]:
    """The lines of `samples` lists for each prompt (token ids), no longer than they need to be."""
    from convrec.models.generation.multinomial import uniforms

    draws = uniforms(len(prompts) * samples, most_tokens(rule.catalog, rule.n), seed)
    model, tokenizer = student
    write_lists(
        model, tokenizer, prompts, rule, draws=draws, samples=samples, temperature=temperature
    )
    return rule.lists()


def most_tokens(catalog: CatalogLines, n: int) -> int:
    """No list of `n` lines has more tokens."""
    return n * catalog.trie.longest


def recommend_constrained(
    folder: Path,
    prompt: str,
    lines: Sequence[str],
    n: int,
    config: Config,
    *,
    seen: Collection[str] = (),
) -> list[str]:
    """`n` different lines of `lines`, none of them in `seen`, as the checkpoint ranks them.

    Greedy within what is allowed, so the same call gives the same list. Raises InputError where
    fewer than `n` lines are left to choose from.
    """
    return constrained_list(load_checkpoint(folder), prompt, lines, n, config, seen=seen)


def constrained_list(
    student: Student,
    prompt: str,
    lines: Sequence[str],
    n: int,
    config: Config,
    *,
    seen: Collection[str] = (),
) -> list[str]:
    """`recommend_constrained` with a student that is already in memory."""
    catalog = CatalogLines(student.tokenizer, lines, config.line_format)
    rule = FromCatalog(catalog, n, catalog.closed([seen], n))
    ids = encode_prompt(student.tokenizer, prompt, config.model.max_prompt_tokens)
    return write_constrained(student, [ids], rule, temperature=0)[0]
