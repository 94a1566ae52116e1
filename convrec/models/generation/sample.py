"""Sample lists for prompt texts, as evaluation and serving need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from convrec.config import Config
from convrec.config.sections import SamplerName
from convrec.models.generation.catalog_constraint import CatalogConstraint
from convrec.models.generation.loop import DecodingConstraint, GeneratedList, generate_lists
from convrec.models.generation.multinomial import uniform_draws
from convrec.models.generation.samplers import Sampler, make_sampler
from convrec.models.generation.support import refuse_sampler
from convrec.models.load import Student
from convrec.models.prompts import encode_student_prompt
from convrec.utils.progress import Progress, no_progress

Titles = Iterable[Mapping[str, Any]]
"""Structs of title and year."""


class SampledList(NamedTuple):
    """The text of a list, and whether it was cut at `model.max_completion_tokens`."""

    text: str
    cut: bool


def sample_lists(
    student: Student,
    prompts: Sequence[str],
    *,
    config: Config,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
    share: tuple[int, int] = (0, 1),
    progress: Progress = no_progress,
    sampler: SamplerName | None = None,
    lines: Iterable[str] = (),
    seen: Sequence[Titles] = (),
) -> list[list[SampledList]]:
    """`samples` lists for each prompt text, in order.

    `sampler` defaults to `evaluate.sampler`. Temperature 0 is greedy. The constrained sampler needs
    `lines`, those of the catalog, and `seen`, the titles that each prompt has seen. Batches have
    prompts of similar length; of `share` = (k, count), only batches k, k + count, ... are sampled,
    and the other prompts have no list. A list is the same in any share.
    """
    model, tokenizer = student
    max_tokens = config.model.max_prompt_tokens
    encoded = [encode_student_prompt(tokenizer, prompt, config) for prompt in prompts]
    rows = [{"prompt": ids, "seen": titles} for ids, titles in zip(encoded, seen, strict=False)]
    name = sampler or config.evaluate.sampler
    tokens = max_tokens + config.model.max_completion_tokens
    refuse_sampler(model.config, {"evaluate.sampler": name}, tokens, "the checkpoint")
    list_sampler = make_sampler(name, tokenizer, config, lines=lines, rows=rows)
    draws = uniform_draws(len(prompts) * samples, list_sampler.max_tokens, seed)
    sampled: list[list[SampledList]] = [[] for _ in prompts]
    batches = _batches(encoded, max(1, config.evaluate.batch_size // samples), share)
    total, done = sum(map(len, batches)), 0
    for batch in batches:
        numbers = [i * samples + sample for i in batch for sample in range(samples)]
        constraint = list_sampler.constraint([encoded[number // samples] for number in numbers])
        generated = generate_lists(
            model,
            tokenizer,
            [encoded[i] for i in batch],
            constraint,
            draws=draws[numbers],
            samples=samples,
            temperature=temperature,
        )
        texts = _decode(tokenizer, list_sampler, constraint, generated)
        for number, text, one in zip(numbers, texts, generated, strict=True):
            cut = one.ids[-1] != tokenizer.eos_token_id
            sampled[number // samples].append(SampledList(text, cut))
        done += len(batch)
        progress(done, total, "prompts answered")
    return sampled


def sample_texts(student: Student, prompts: Sequence[str], **options: Any) -> list[list[str]]:
    """The texts of `sample_lists`, with the same options."""
    return [[one.text for one in lists] for lists in sample_lists(student, prompts, **options)]


def _batches(
    encoded: Sequence[Sequence[int]], size: int, share: tuple[int, int]
) -> list[list[int]]:
    """Positions of prompts in batches by length, and of these every `share[1]`-th."""
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    return batches[share[0] :: share[1]]


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
