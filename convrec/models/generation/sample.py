"""Sample lists for prompt texts, as evaluation and serving need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from convrec.config import Config
from convrec.config.sections import SamplerName
from convrec.models.generation.catalog_constraint import CatalogConstraint
from convrec.models.generation.loop import DecodingConstraint, GeneratedList, generate_lists
from convrec.models.generation.multinomial import uniform_draws
from convrec.models.generation.samplers import Sampler, make_sampler
from convrec.models.generation.support import refuse_sampler
from convrec.models.load import Student, load_checkpoint
from convrec.models.prompts import encode_prompt
from convrec.utils.progress import Progress, no_progress

Titles = Iterable[Mapping[str, Any]]
"""Structs of title and year."""


def sample_lists(folder: Path, prompts: Sequence[str], **options: Any) -> list[list[str]]:
    """`sample_texts` with the checkpoint in `folder`, on a GPU if there is one."""
    student = load_checkpoint(folder)
    if torch.cuda.is_available():
        student.model.cuda()
    return sample_texts(student, prompts, **options)


def sample_texts(
    student: Student,
    prompts: Sequence[str],
    *,
    config: Config,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
    progress: Progress = no_progress,
    sampler: SamplerName | None = None,
    lines: Iterable[str] = (),
    seen: Sequence[Titles] = (),
) -> list[list[str]]:
    """`samples` lists, as texts, for each prompt text, in order.

    `sampler` defaults to `evaluate.sampler`. Temperature 0 is greedy. The constrained sampler needs
    `lines`, those of the catalog, and `seen`, the titles that each prompt has seen.
    """
    model, tokenizer = student
    max_tokens = config.model.max_prompt_tokens
    encoded = [encode_prompt(tokenizer, prompt, max_tokens) for prompt in prompts]
    rows = [{"prompt": ids, "seen": titles} for ids, titles in zip(encoded, seen, strict=False)]
    name = sampler or config.evaluate.sampler
    tokens = max_tokens + config.model.max_completion_tokens
    refuse_sampler(model.config, {"evaluate.sampler": name}, tokens, "the checkpoint")
    list_sampler = make_sampler(name, tokenizer, config, lines=lines, rows=rows)
    draws = uniform_draws(len(prompts) * samples, list_sampler.max_tokens, seed)
    texts: list[list[str]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(encoded[i]))
    batch_size = max(1, config.evaluate.batch_size // samples)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        lists = [i * samples + sample for i in batch for sample in range(samples)]
        constraint = list_sampler.constraint([encoded[row // samples] for row in lists])
        generated = generate_lists(
            model,
            tokenizer,
            [encoded[i] for i in batch],
            constraint,
            draws=draws[lists],
            samples=samples,
            temperature=temperature,
        )
        decoded = _decode(tokenizer, list_sampler, constraint, generated)
        for row, text in zip(lists, decoded, strict=True):
            texts[row // samples].append(text)
        progress(min(start + batch_size, len(order)), len(order), "prompts answered")
    return texts


def _decode(
    tokenizer: Any, sampler: Sampler, constraint: DecodingConstraint, lists: list[GeneratedList]
) -> list[str]:
    if isinstance(constraint, CatalogConstraint):
        return ["\n".join(lines) for lines in constraint.generated_lines()]
    texts = [decode_completion(tokenizer, generated.ids) for generated in lists]
    if sampler.name in ("lines", "distinct"):
        # The token that closes line N can hold more than its newline.
        texts = ["\n".join(text.split("\n")[: sampler.n]) for text in texts]
    return texts


def decode_completion(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of sampled ids without EOS; other special tokens are kept."""
    if ids and ids[-1] == tokenizer.eos_token_id:
        ids = ids[:-1]
    text: str = tokenizer.decode(ids, skip_special_tokens=False)
    return text
