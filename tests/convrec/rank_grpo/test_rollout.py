"""Sampling for training: groups share a prefill, and stay in order."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from convrec.rank_grpo.rollout import Rollout
from convrec.sft.prompts import encode_prompt
from convrec.sft.student import load_checkpoint


def trainer_of(checkpoint: Path, group: int) -> Any:
    torch.set_num_threads(1)
    student = load_checkpoint(checkpoint)
    return SimpleNamespace(
        model=student.model,
        processing_class=student.tokenizer,
        num_generations=group,
        accelerator=SimpleNamespace(unwrap_model=lambda model: model),
    )


@pytest.mark.parametrize("copies", [(3, 3), (2, 4)])
def test_whole_groups_and_parts_of_groups_are_answered_alike(
    checkpoint: Path, copies: tuple[int, int]
) -> None:
    trainer = trainer_of(checkpoint, 3)
    texts = ["something like Heat", "films with Big"]
    prompts = [
        encode_prompt(trainer.processing_class, text, 32)
        for text, count in zip(texts, copies, strict=True)
        for _ in range(count)
    ]
    rollout = Rollout(40, 1.0)
    torch.manual_seed(0)
    shared = rollout(prompts, trainer)
    torch.manual_seed(0)
    trainer.num_generations = 1
    alone = rollout(prompts, trainer)
    assert shared["completion_ids"] == alone["completion_ids"]
    assert shared["prompt_ids"] == prompts
    assert len({tuple(ids) for ids in shared["completion_ids"]}) > 1
    assert rollout.seconds > 0
    assert trainer.model.training is False
