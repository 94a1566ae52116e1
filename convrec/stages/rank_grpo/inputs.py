"""What a training needs besides its settings: the model, tokenized samples and the sampler."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset

from convrec.config import Config
from convrec.errors import TrainingError
from convrec.models.generation.samplers import Sampler, make_sampler
from convrec.models.load import Student
from convrec.models.prompts import encode_prompt, student_prompt
from convrec.titles.index import TitleIndex

Rows = Sequence[Mapping[str, Any]]
"""Rows of the conversations table."""


@dataclass(frozen=True)
class TrainingInputs:
    """The model, its training and validation data, and how lists are sampled."""

    student: Student
    data: Dataset
    validation: Rows
    sampler: Sampler
    index: TitleIndex
    config: Config
    seed: int


def prepare_inputs(
    student: Student,
    samples: Rows,
    validation: Rows,
    lines: Iterable[str],
    index: TitleIndex,
    config: Config,
    seed: int,
) -> TrainingInputs:
    """Tokenize the samples and make the configured sampler.

    Raises TrainingError if there are too few samples for a step.
    """
    settings, tokenizer = config.rank_grpo, student.tokenizer
    data = training_data(samples, tokenizer, config, seed)
    with_truth = [row for row in validation if row["ground_truth"]] if settings.eval_every else []
    held_out = [
        {**row, "prompt": _prompt_ids(row, tokenizer, config)}
        for row in with_truth[: settings.eval_samples]
    ]
    rows = [*data, *held_out]
    sampler = make_sampler(settings.sampler, tokenizer, config, lines=lines, rows=rows)
    return TrainingInputs(student, data, held_out, sampler, index, config, seed)


def training_data(samples: Rows, tokenizer: Any, config: Config, seed: int) -> Dataset:
    """Prompts as token ids, with seen titles and ground truth, in the order of training.

    The samples are reshuffled as TRL would do per epoch. One long epoch has the same position after
    a resume as before.
    """
    settings = config.rank_grpo
    rows = [
        {
            "prompt": _prompt_ids(sample, tokenizer, config),
            "seen": list(sample["seen"] or ()),
            "ground_truth": list(sample["ground_truth"]),
        }
        for sample in samples
        if sample["ground_truth"]
    ]
    per_epoch = len(rows) - len(rows) % settings.prompts_per_step
    if not per_epoch:
        raise TrainingError(
            f"a step needs rank_grpo.prompts_per_step={settings.prompts_per_step} samples, but the "
            f"training split has {len(rows)} with ground truth; ingest more, or lower "
            "rank_grpo.prompts_per_step"
        )
    generator = torch.Generator().manual_seed(seed)
    needed = math.ceil(settings.steps / settings.iterations) * settings.prompts_per_step
    order: list[int] = []
    while len(order) < needed:
        order += torch.randperm(len(rows), generator=generator).tolist()[:per_epoch]
    return Dataset.from_list(rows).select(order[:needed])


def _prompt_ids(sample: Mapping[str, Any], tokenizer: Any, config: Config) -> list[int]:
    prompt = student_prompt(sample["conversation"], sample["prompt"], config)
    return encode_prompt(tokenizer, prompt, config.model.max_prompt_tokens)
