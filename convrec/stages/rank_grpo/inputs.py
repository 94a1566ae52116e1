"""What a training needs besides its settings: the model, tokenized samples and the sampler."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import torch
from datasets import Dataset

from convrec.config import Config, RankGrpo
from convrec.errors import TrainingError
from convrec.metrics.relevance import titles_and_years
from convrec.models.generation.samplers import Sampler, make_sampler
from convrec.models.load import Student
from convrec.models.prompts import encode_student_prompt, student_prompt
from convrec.titles.index import TitleIndex
from convrec.training.step_count import check_drop_step, rank_grpo_steps
from convrec.training.validation_sample import sample_contexts

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

    Samples whose ground truth is outside the catalog are left out: no list can earn a reward. The
    inputs' configuration has the steps of `rank_grpo.epochs` in `rank_grpo.steps`. Validation
    has one sample of each of at most `rank_grpo.eval_samples` contexts. Raises TrainingError if
    there are too few samples for a step.
    """
    samples = _with_reward(samples, index)
    config = with_steps(config, samples)
    settings, tokenizer = config.rank_grpo, student.tokenizer
    data = training_data(samples, tokenizer, config, seed)
    with_truth = _with_truth(validation) if settings.eval_every else []
    prompt_ids = _prompt_encoder(tokenizer, config)
    held_out = [
        {**row, "prompt": prompt_ids(row)}
        for row in sample_contexts(with_truth, settings.eval_samples, seed)
    ]
    rows = chain(data, held_out)
    sampler = make_sampler(settings.sampler, tokenizer, config, lines=lines, rows=rows)
    return TrainingInputs(student, data, held_out, sampler, index, config, seed)


def with_steps(config: Config, samples: Rows) -> Config:
    """The configuration with the steps of `rank_grpo.epochs` in `rank_grpo.steps`.

    Raises ConfigError if they end before `rank_grpo.drop_step`.
    """
    settings = config.rank_grpo
    if not settings.epochs:
        return config
    steps = rank_grpo_steps(len(_with_truth(samples)), settings)
    check_drop_step(settings, steps, "rank_grpo")
    resolved = settings.model_copy(update={"steps": steps, "epochs": 0})
    return config.model_copy(update={"rank_grpo": resolved})


def training_data(samples: Rows, tokenizer: Any, config: Config, seed: int) -> Dataset:
    """Prompts as token ids, with seen titles and ground truth, in the order of training.

    The samples are reshuffled as TRL would do per epoch. One long epoch has the same position after
    a resume as before. Only prompts that the training reaches are tokenized, each once.
    """
    rows = _with_truth(samples)
    order = _training_order(len(rows), config.rank_grpo, seed)
    used = list(dict.fromkeys(order))
    place = {number: i for i, number in enumerate(used)}
    prompt_ids = _prompt_encoder(tokenizer, config)
    data = [
        {
            "prompt": prompt_ids(sample),
            "seen": list(sample["seen"] or ()),
            "ground_truth": list(sample["ground_truth"]),
        }
        for sample in map(rows.__getitem__, used)
    ]
    return Dataset.from_list(data).select([place[number] for number in order])


def _training_order(samples: int, settings: RankGrpo, seed: int) -> list[int]:
    """The sample of each prompt of the training. Raises TrainingError if no step can be filled."""
    per_epoch = samples - samples % settings.prompts_per_step
    if not per_epoch:
        raise TrainingError(
            f"a step needs rank_grpo.prompts_per_step={settings.prompts_per_step} samples, but the "
            f"training split has {samples} with ground truth; ingest more, or lower "
            "rank_grpo.prompts_per_step"
        )
    generator = torch.Generator().manual_seed(seed)
    steps = rank_grpo_steps(samples, settings)
    needed = math.ceil(steps / settings.iterations) * settings.prompts_per_step
    order: list[int] = []
    while len(order) < needed:
        order += torch.randperm(samples, generator=generator).tolist()[:per_epoch]
    return order[:needed]


def _with_truth(samples: Rows) -> list[Mapping[str, Any]]:
    return [sample for sample in samples if sample["ground_truth"]]


def _with_reward(samples: Rows, index: TitleIndex) -> Rows:
    """The samples of which a list can hit a ground truth; all if there are none."""
    possible = [
        sample
        for sample in samples
        if any(index.find(title, year) for title, year in titles_and_years(sample["ground_truth"]))
    ]
    return possible or samples


def _prompt_encoder(tokenizer: Any, config: Config) -> Callable[[Mapping[str, Any]], list[int]]:
    """Gives the prompt of a sample as token ids; samples of one post share them."""

    @cache
    def encode(prompt: str) -> list[int]:
        return encode_student_prompt(tokenizer, prompt, config)

    return lambda sample: encode(student_prompt(sample["conversation"], sample["prompt"], config))
