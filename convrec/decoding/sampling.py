"""Lists for texts, as evaluation asks for them: free, ended at N lines, or from the catalog."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from convrec.config import Config
from convrec.decoding.choosing import uniforms
from convrec.decoding.constrained import FromCatalog, most_tokens
from convrec.decoding.lines import CatalogLines
from convrec.decoding.rules import EndAtLines, Free
from convrec.decoding.writing import Rule, Written, write_lists
from convrec.errors import InputError
from convrec.rank_grpo.segments import newline_counts
from convrec.relevance import Titled
from convrec.sft.prompts import encode_prompt
from convrec.sft.student import Student, load_checkpoint

Progress = Callable[[int, int, str], None]
Sampler = Literal["free", "lines", "constrained"]


def sample_lists(
    folder: Path,
    prompts: Sequence[str],
    *,
    config: Config,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
    progress: Progress = lambda done, total, text: None,
    lines: Iterable[str] = (),
    seen: Sequence[Iterable[Titled]] = (),
) -> list[list[str]]:
    """`samples` answers of the checkpoint in `folder` to each prompt text, in order.

    `evaluate.sampler` says what ends or constrains a list; an answer ends at the latest after
    `model.max_completion_tokens`, unless it is constrained. Temperature 0 is greedy.
    `evaluate.batch_size` is the number of lists written at once. `lines` is the catalog, and `seen`
    the titles that each prompt has seen, both for the constrained sampler only.
    """
    student = load_checkpoint(folder)
    if torch.cuda.is_available():
        student.model.cuda()
    catalog = CatalogLines(student.tokenizer, lines, config.line_format)
    return sample_texts(
        student,
        prompts,
        config=config,
        samples=samples,
        temperature=temperature,
        seed=seed,
        progress=progress,
        catalog=catalog,
        seen=[catalog.seen(titles) for titles in seen],
    )


def sample_texts(
    student: Student,
    prompts: Sequence[str],
    *,
    config: Config,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
    progress: Progress = lambda done, total, text: None,
    sampler: Sampler | None = None,
    catalog: CatalogLines | None = None,
    seen: Sequence[Collection[str]] = (),
) -> list[list[str]]:
    """`sample_lists` with a student in memory; `sampler` stands before `evaluate.sampler`."""
    how: Sampler = sampler or config.evaluate.sampler
    model, tokenizer = student
    room = config.model.max_prompt_tokens
    encoded = [encode_prompt(tokenizer, prompt, room) for prompt in prompts]
    writer = _Writer(student, config, how, catalog, seen or [()] * len(prompts))
    draws = uniforms(len(prompts) * samples, writer.width, seed)
    answers: list[list[str]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(encoded[i]))
    together = max(1, config.evaluate.batch_size // samples)
    for start in range(0, len(order), together):
        batch = order[start : start + together]
        rows = [i * samples + draw for i in batch for draw in range(samples)]
        rule = writer.rule([i for i in batch for _ in range(samples)])
        written = write_lists(
            model,
            tokenizer,
            [encoded[i] for i in batch],
            rule,
            draws=draws[rows],
            samples=samples,
            temperature=temperature,
        )
        for position, text in enumerate(writer.texts(rule, written)):
            answers[batch[position // samples]].append(text)
        progress(min(start + together, len(order)), len(order), "prompts answered")
    return answers


class _Writer:
    """A sampler for one call: the rule of each batch, how long lists get, and their texts."""

    def __init__(
        self,
        student: Student,
        config: Config,
        how: Sampler,
        catalog: CatalogLines | None,
        seen: Sequence[Collection[str]],
    ) -> None:
        self.tokenizer = student.tokenizer
        self.n = config.list_length
        self.width = config.model.max_completion_tokens
        self.ends = how == "lines"
        self.plain = end_rule(student, self.n if self.ends else None)
        self.catalog = None
        if how == "constrained":
            if catalog is None or not catalog.lines:
                raise InputError("the constrained sampler needs a catalog, and none was given")
            self.catalog = catalog
            self.closed = catalog.closed(seen, self.n)
            self.width = most_tokens(catalog, self.n)

    def rule(self, prompts: list[int]) -> Rule | FromCatalog:
        if self.catalog is None:
            return self.plain
        return FromCatalog(self.catalog, self.n, self.closed[prompts])

    def texts(self, rule: Rule, written: list[Written]) -> list[str]:
        if isinstance(rule, FromCatalog):
            return ["\n".join(lines) for lines in rule.lists()]
        texts = [answer_text(self.tokenizer, one.ids) for one in written]
        return ["\n".join(t.split("\n")[: self.n]) for t in texts] if self.ends else texts


def end_rule(student: Student, n: int | None) -> Free:
    """The rule that ends a list at `n` lines, or the free model for None."""
    eos = student.tokenizer.eos_token_id
    if n is None:
        return Free(eos)
    return EndAtLines(eos, n, newline_counts(student.tokenizer, student.model.config.vocab_size))


def answer_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of sampled ids without the end-of-sequence token; other special tokens stay."""
    if ids and ids[-1] == tokenizer.eos_token_id:
        ids = ids[:-1]
    text: str = tokenizer.decode(ids, skip_special_tokens=False)
    return text
