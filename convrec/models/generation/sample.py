"""Lists for texts, as evaluation asks for them: free, ended at N lines, or from the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from convrec.config import Config
from convrec.config.sections import SamplerName
from convrec.models.generation.catalog_constrained import FromCatalog
from convrec.models.generation.loop import DecodingConstraint, GeneratedList, write_lists
from convrec.models.generation.multinomial import uniforms
from convrec.models.generation.samplers import Sampler, sampler_for
from convrec.models.load import Student, load_checkpoint
from convrec.models.prompts import encode_prompt
from convrec.utils.progress import Progress, silent

Titles = Iterable[Mapping[str, Any]]
"""Structs of title and year."""


def sample_lists(
    folder: Path,
    prompts: Sequence[str],
    *,
    config: Config,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
    progress: Progress = silent,
    lines: Iterable[str] = (),
    seen: Sequence[Titles] = (),
) -> list[list[str]]:
    """`samples` answers of the checkpoint in `folder` to each prompt text, in order.

    `evaluate.sampler` says what ends or constrains a list; an answer ends at the latest after
    `model.max_completion_tokens`, unless it is constrained. Temperature 0 is greedy.
    `evaluate.batch_size` is the number of lists written at once. `lines` is the catalog, and `seen`
    the titles that each prompt has seen, both for the constrained sampler only; prompts that are
    equal share what they have seen.
    """
    student = load_checkpoint(folder)
    if torch.cuda.is_available():
        student.model.cuda()
    return sample_texts(
        student,
        prompts,
        config=config,
        samples=samples,
        temperature=temperature,
        seed=seed,
        progress=progress,
        lines=lines,
        seen=seen,
    )


def sample_texts(
    student: Student,
    prompts: Sequence[str],
    *,
    config: Config,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
    progress: Progress = silent,
    sampler: SamplerName | None = None,
    lines: Iterable[str] = (),
    seen: Sequence[Titles] = (),
) -> list[list[str]]:
    """`sample_lists` with a student in memory; `sampler` stands before `evaluate.sampler`."""
    model, tokenizer = student
    room = config.model.max_prompt_tokens
    encoded = [encode_prompt(tokenizer, prompt, room) for prompt in prompts]
    asked = [{"prompt": x, "seen": y} for x, y in zip(encoded, seen, strict=False)]
    name = sampler or config.evaluate.sampler
    how = sampler_for(name, tokenizer, config, lines=lines, rows=asked)
    draws = uniforms(len(prompts) * samples, how.most_tokens, seed)
    answers: list[list[str]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(encoded[i]))
    together = max(1, config.evaluate.batch_size // samples)
    for start in range(0, len(order), together):
        batch = order[start : start + together]
        rows = [i * samples + draw for i in batch for draw in range(samples)]
        rule = how.rule([encoded[row // samples] for row in rows])
        written = write_lists(
            model,
            tokenizer,
            [encoded[i] for i in batch],
            rule,
            draws=draws[rows],
            samples=samples,
            temperature=temperature,
        )
        for row, text in zip(rows, _texts(tokenizer, how, rule, written), strict=True):
            answers[row // samples].append(text)
        progress(min(start + together, len(order)), len(order), "prompts answered")
    return answers


def _texts(
    tokenizer: Any, how: Sampler, rule: DecodingConstraint, written: list[GeneratedList]
) -> list[str]:
    if isinstance(rule, FromCatalog):
        return ["\n".join(lines) for lines in rule.lists()]
    texts = [answer_text(tokenizer, one.ids) for one in written]
    if how.name in ("lines", "distinct"):
        # a token that closes line N may hold more than its newline
        texts = ["\n".join(text.split("\n")[: how.n]) for text in texts]
    return texts


def answer_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of sampled ids without the end-of-sequence token; other special tokens stay."""
    if ids and ids[-1] == tokenizer.eos_token_id:
        ids = ids[:-1]
    text: str = tokenizer.decode(ids, skip_special_tokens=False)
    return text
