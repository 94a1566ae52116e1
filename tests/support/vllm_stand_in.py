"""A stand-in for vLLM inside TRL: an engine of ours that has only the weights that TRL sends it.

TRL's own code walks the weights, sharded or not, and calls the engine as it calls vLLM.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from accelerate.utils import is_peft_model
from trl.generation.vllm_generation import VLLMGeneration
from trl.trainer import grpo_trainer

from convrec.models.generation.loop import generate_lists
from convrec.models.generation.without_catalog import Unconstrained
from convrec.training import launch_settings


class StandIn(VLLMGeneration):
    """Samples lists that depend on the weights, the step and the row among all processes' rows.

    Without a `trainer`, the number of the call replaces the step.
    """

    latest: StandIn
    trainer: Any = None

    def _init_vllm(self) -> None:
        model = self.model.get_base_model() if is_peft_model(self.model) else self.model
        self.engine = type(model)(model.config).eval()
        with torch.no_grad():
            for weight in self.engine.parameters():
                weight.zero_()  # what TRL does not send is missing
        self.prompts: list[list[list[int]]] = []
        self.lists: list[list[list[int]]] = []
        self.syncs = 0
        StandIn.latest = self

    def sync_weights(self) -> None:
        """Copy every weight, as vLLM does by name."""
        own = dict(self.engine.named_parameters())
        with torch.no_grad():
            for name, weight in self._iter_named_params():
                own.pop(name).copy_(weight)
        assert not own, f"not sent: {list(own)}"
        self.syncs += 1

    def generate(
        self, prompts: Any, images: Any, num_generations: int, profiler: Any = None
    ) -> Any:
        """One list per prompt, with two tokens after EOS that the rollout has to cut."""
        assert images is None
        assert num_generations > 0
        count, rank = self.accelerator.num_processes, self.accelerator.process_index
        step = self.trainer.state.global_step if self.trainer else len(self.prompts)
        generator = torch.Generator().manual_seed(step)
        shape = (count * len(prompts), self.max_completion_length)
        draws = torch.rand(shape, generator=generator)[rank * len(prompts) :][: len(prompts)]
        eos = self.processing_class.eos_token_id
        constraint = Unconstrained(eos)
        lists = generate_lists(self.engine, self.processing_class, prompts, constraint, draws=draws)
        after = [[eos, eos] if generated.ids[-1] == eos else [] for generated in lists]
        ids = [row.ids + tail for row, tail in zip(lists, after, strict=True)]
        logps = [
            [[logp] for logp in row.logps] + [[-1.0]] * len(tail)
            for row, tail in zip(lists, after, strict=True)
        ]
        self.prompts.append(prompts)
        self.lists.append([row.ids for row in lists])
        return prompts, ids, logps, None


def use_stand_in(patch: pytest.MonkeyPatch) -> None:
    """Let TRL and this project use the stand-in."""
    patch.setattr(grpo_trainer, "VLLMGeneration", StandIn)
    patch.setattr(launch_settings, "find_spec", lambda name: name)
