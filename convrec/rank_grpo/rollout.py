"""TRL's rollout hook with the sampler of evaluation and serving (`convrec.models.generation`).

Tokens that the sampler added and the model did not choose (EOS after N lines, a token without an
alternative) are 0 in TRL's `env_mask`, which keeps them out of the loss.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convrec.models.generation.loop import GeneratedList, generate_lists
from convrec.models.generation.merged_adapters import merged_adapters
from convrec.models.generation.samplers import Sampler


class Rollout:
    """A TRL `rollout_func` that generates one list per prompt; prompts are already token ids.

    Random numbers come from torch's global generator, which TRL seeds. Each process draws those of
    all lists and uses its own share, so the lists do not depend on the number of processes.

    Attributes:
        lists: The latest lists with their log-probabilities (under the mask if constrained).
        excluded: (B, lines) bool, the catalog lines that the latest constrained lists could not
            use, as `allowed_tokens` expects it.
        rng_state_after_step: With several processes, the generator state that a single process
            would have after this step (`convrec.stages.rank_grpo.callbacks`).
    """

    def __init__(self, temperature: float, sampler: Sampler) -> None:
        self.temperature = temperature
        self.sampler = sampler
        self.lists: list[GeneratedList] = []
        self.excluded: Tensor | None = None
        self.rng_state_after_step: Tensor | None = None

    def __call__(
        self, prompts: list[list[int]], trainer: Any, draws: Tensor | None = None
    ) -> dict[str, Any]:
        """One completion per prompt; the G repeats of a prompt must be adjacent.

        `draws` (lists, tokens) are the random numbers; by default they are drawn here.
        """
        model, tokenizer = trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class
        if self.sampler.name == "constrained":
            self.excluded = self.sampler.excluded(prompts)
        groups = _unique_prompts(prompts, trainer.num_generations)
        # One autocast rounds the weights once, not for each token.
        with trainer.accelerator.autocast(), merged_adapters(model):
            self.lists = generate_lists(
                model,
                tokenizer,
                groups,
                self.sampler.constraint(prompts),
                samples=len(prompts) // len(groups),
                temperature=self.temperature,
                draws=self._draw(len(prompts), trainer.accelerator) if draws is None else draws,
            )
        output = {
            "prompt_ids": prompts,
            "completion_ids": [generated.ids for generated in self.lists],
            "logprobs": None,
        }
        if self.sampler.forces_tokens:
            output["env_mask"] = [list(map(int, generated.chosen)) for generated in self.lists]
        return output

    def _draw(self, lists: int, accelerator: Any) -> Tensor:
        """This process's rows of the random numbers of all lists: (lists, tokens)."""
        count, rank = accelerator.num_processes, accelerator.process_index
        draws = torch.rand(count * lists, self.sampler.max_tokens)
        if count > 1:
            with torch.random.fork_rng(devices=[]):
                torch.randperm(count * lists)  # as TRL shuffles the lists of a step
                self.rng_state_after_step = torch.get_rng_state()
        return draws[rank * lists : (rank + 1) * lists]


def _unique_prompts(prompts: list[list[int]], group_size: int) -> list[list[int]]:
    """One prompt per group, or all prompts if this process has incomplete groups."""
    firsts = prompts[::group_size]
    repeated = [prompt for prompt in firsts for _ in range(group_size)]
    return firsts if repeated == prompts else prompts
