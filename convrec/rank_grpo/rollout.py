"""Sampling the lists to learn from: TRL's rollout hook over the project's own sampler.

`convrec.models.generation` lets the G samples of a prompt share its prefill and drops finished
lists from the batch, which TRL's `generate` path does not. Training and evaluation thus sample
alike.

What the sampler wrote and the model did not choose (an end-of-sequence after N lines, a token
without an alternative) is 0 in TRL's `env_mask`, which keeps it out of the loss.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from convrec.models.generation.loop import GeneratedList, write_lists
from convrec.models.generation.samplers import Sampler


class Rollout:
    """TRL's `rollout_func`; prompts are token ids already, so that nothing is encoded twice.

    `sampler` says how lists are written. `seconds` is what the latest call took, `written` are its
    lists with their log-probabilities (under the mask, where there is one), and `closed` (B, lines)
    is what constrained ones could not have, as `allowed_tokens` asks for it. Random numbers come
    from torch's global generator, which TRL seeds; of several processes each draws those of all
    lists and takes its own, so that lists do not depend on their number. `after` is then where the
    generator of one process would be behind the step (`convrec.stages.rank_grpo.rng_sync`).
    """

    def __init__(self, temperature: float, sampler: Sampler) -> None:
        self.temperature = temperature
        self.sampler = sampler
        self.seconds = 0.0
        self.written: list[GeneratedList] = []
        self.closed: Tensor | None = None
        self.after: Tensor | None = None

    def __call__(
        self, prompts: list[list[int]], trainer: Any, draws: Tensor | None = None
    ) -> dict[str, Any]:
        """One completion for each prompt; the G repeats of a prompt come next to each other.

        `draws` (lists, tokens) are the random numbers; without them they are drawn.
        """
        started = time.perf_counter()
        model, tokenizer = trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class
        if self.sampler.name == "constrained":
            self.closed = self.sampler.closed(prompts)
        groups = _groups(prompts, trainer.num_generations)
        self.written = write_lists(
            model,
            tokenizer,
            groups,
            self.sampler.rule(prompts),
            samples=len(prompts) // len(groups),
            temperature=self.temperature,
            draws=self._draws(len(prompts), trainer.accelerator) if draws is None else draws,
        )
        answer = {
            "prompt_ids": prompts,
            "completion_ids": [one.ids for one in self.written],
            "logprobs": None,
        }
        if self.sampler.helps:
            answer["env_mask"] = [list(map(int, one.chosen)) for one in self.written]
        self.seconds = time.perf_counter() - started
        return answer

    def _draws(self, lists: int, accelerator: Any) -> Tensor:
        """Random numbers of this process's lists: its rows of those of all, (lists, tokens)."""
        assert self.sampler is not None
        count, rank = accelerator.num_processes, accelerator.process_index
        draws = torch.rand(count * lists, self.sampler.most_tokens)
        if count > 1:
            with torch.random.fork_rng(devices=[]):
                torch.randperm(count * lists)  # the order in which TRL shuffles the lists of a step
                self.after = torch.get_rng_state()
        return draws[rank * lists : (rank + 1) * lists]


def _groups(prompts: list[list[int]], size: int) -> list[list[int]]:
    """The prompt of each group; all prompts where a process holds parts of groups."""
    whole = len(prompts) % size == 0
    firsts = prompts[::size]
    if whole and all(prompt == firsts[i // size] for i, prompt in enumerate(prompts)):
        return firsts
    return prompts
