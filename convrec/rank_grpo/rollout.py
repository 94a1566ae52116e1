"""Sampling the lists to learn from: TRL's rollout hook over the project's own sampler.

`convrec.decoding` lets the G samples of a prompt share its prefill and drops finished lists from
the batch, which TRL's `generate` path does not. Training and evaluation thus sample alike.

What the sampler wrote and the model did not choose (an end-of-sequence after N lines, a token
without an alternative) is 0 in TRL's `env_mask`, which keeps it out of the loss.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from convrec.config import Config
from convrec.decoding.constrained import FromCatalog, most_tokens
from convrec.decoding.lines import CatalogLines
from convrec.decoding.rules import EndAtLines, Free
from convrec.decoding.writing import Rule, Written, write_lists
from convrec.rank_grpo.segments import newline_counts

Seen = Mapping[tuple[int, ...], set[str]]
"""From a prompt's token ids to the catalog lines that its lists may not have."""


class Rollout:
    """TRL's `rollout_func`; prompts are token ids already, so that nothing is encoded twice.

    Without `n_lines` the model is free; with it a list ends when `n_lines` lines are written; with
    a `catalog` too, lists are `n_lines` of its lines without those that `seen` gives for a prompt.
    `seconds` is what the latest call took, `written` are its lists with their log-probabilities
    (under the mask, where there is one), and `closed` (B, lines) what the constrained ones could
    not have, as `allowed_tokens` asks for it. Random numbers come from torch's global generator,
    which TRL seeds.
    """

    def __init__(
        self,
        max_new_tokens: int,
        temperature: float,
        *,
        n_lines: int | None = None,
        catalog: CatalogLines | None = None,
        seen: Seen | None = None,
    ) -> None:
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.n_lines = n_lines
        self.catalog = catalog
        self.seen = seen or {}
        self.seconds = 0.0
        self.written: list[Written] = []
        self.closed: Tensor | None = None
        self._free: Free | None = None

    def __call__(self, prompts: list[list[int]], trainer: Any) -> dict[str, Any]:
        """One completion for each prompt; the G repeats of a prompt come next to each other."""
        started = time.perf_counter()
        model = trainer.accelerator.unwrap_model(trainer.model)
        groups = _groups(prompts, trainer.num_generations)
        rule = self._rule(prompts, model, trainer.processing_class)
        width = (
            most_tokens(rule.catalog, rule.n)
            if isinstance(rule, FromCatalog)
            else self.max_new_tokens
        )
        self.written = write_lists(
            model,
            trainer.processing_class,
            groups,
            rule,
            samples=len(prompts) // len(groups),
            temperature=self.temperature,
            draws=torch.rand(len(prompts), width),
        )
        self.seconds = time.perf_counter() - started
        answer = {
            "prompt_ids": prompts,
            "completion_ids": [one.ids for one in self.written],
            "logprobs": None,
        }
        if self.n_lines is not None:
            answer["env_mask"] = [[int(x) for x in one.chosen] for one in self.written]
        return answer

    def _rule(self, prompts: Sequence[Sequence[int]], model: Any, tokenizer: Any) -> Rule:
        if self.n_lines is not None and self.catalog is not None:
            rows = [self.seen.get(tuple(prompt), set()) for prompt in prompts]
            self.closed = self.catalog.closed(rows, self.n_lines)
            return FromCatalog(self.catalog, self.n_lines, self.closed)
        if self._free is None:
            eos = tokenizer.eos_token_id
            self._free = (
                Free(eos)
                if self.n_lines is None
                else EndAtLines(
                    eos, self.n_lines, newline_counts(tokenizer, model.config.vocab_size)
                )
            )
        return self._free


def rollout_for(
    sampler: str,
    tokenizer: Any,
    config: Config,
    temperature: float,
    *,
    lines: Iterable[str] = (),
    rows: Iterable[Mapping[str, Any]] = (),
) -> Rollout:
    """The rollout that a setting names: `free`, `lines` or `constrained`.

    Only `constrained` reads `lines` (the catalog's, as a list has them) and `rows` (with `prompt`,
    its token ids, and `seen`, structs of title and year). Rows with the same prompt have seen what
    any of them has.
    """
    most = config.model.max_completion_tokens
    if sampler == "free":
        return Rollout(most, temperature)
    if sampler == "lines":
        return Rollout(most, temperature, n_lines=config.list_length)
    catalog = CatalogLines(tokenizer, lines, config.line_format)
    seen: dict[tuple[int, ...], set[str]] = {}
    for row in rows:
        titles = [(item["title"], item["year"]) for item in row["seen"] or ()]
        seen.setdefault(tuple(row["prompt"]), set()).update(catalog.seen(titles))
    return Rollout(most, temperature, n_lines=config.list_length, catalog=catalog, seen=seen)


def _groups(prompts: list[list[int]], size: int) -> list[list[int]]:
    """The prompt of each group; all prompts where a process holds parts of groups."""
    whole = len(prompts) % size == 0
    firsts = prompts[::size]
    if whole and all(prompt == firsts[i // size] for i, prompt in enumerate(prompts)):
        return firsts
    return prompts
