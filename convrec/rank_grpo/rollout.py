"""Sampling the lists to learn from: TRL's rollout hook over the project's own sampler.

`convrec.decoding` lets the G samples of a prompt share its prefill and drops finished lists from
the batch, which TRL's `generate` path does not. Training and evaluation thus sample alike.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from convrec.decoding.sampling import sample_batch


class Rollout:
    """TRL's `rollout_func`; prompts are token ids already, so that nothing is encoded twice.

    `seconds` holds what the latest call took. Random numbers come from torch's global generator,
    which TRL seeds.
    """

    def __init__(self, max_new_tokens: int, temperature: float) -> None:
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.seconds = 0.0

    def __call__(self, prompts: list[list[int]], trainer: Any) -> dict[str, Any]:
        """One completion for each prompt; the G repeats of a prompt come next to each other."""
        started = time.perf_counter()
        groups = _groups(prompts, trainer.num_generations)
        completions = sample_batch(
            trainer.accelerator.unwrap_model(trainer.model),
            trainer.processing_class,
            groups,
            samples=len(prompts) // len(groups),
            temperature=self.temperature,
            draws=torch.rand(len(prompts), self.max_new_tokens),
        )
        self.seconds = time.perf_counter() - started
        return {"prompt_ids": prompts, "completion_ids": completions, "logprobs": None}


def _groups(prompts: list[list[int]], size: int) -> list[list[int]]:
    """The prompt of each group; all prompts where a process holds parts of groups."""
    whole = len(prompts) % size == 0
    firsts = prompts[::size]
    if whole and all(prompt == firsts[i // size] for i, prompt in enumerate(prompts)):
        return firsts
    return prompts
