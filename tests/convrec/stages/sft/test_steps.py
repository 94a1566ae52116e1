"""A step has the same rows and gradient, however it is split over processes and passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from convrec.config import Config
from convrec.models.load import Student
from convrec.models.tiny import make_tiny
from convrec.stages.sft.data import (
    IGNORED,
    RightPaddingCollator,
    StepSampler,
    append_blank_row,
    encode_rows,
)
from convrec.stages.sft.make_trainer import SftInputs, make_trainer
from tests.support.micro import ROWS, TEXTS


class GradientRecorder(TrainerCallback):
    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        gradients = [weight.grad.flatten() for weight in model.parameters()]
        self.steps.append(torch.cat(gradients).clone())


def gradients(config: Config, folder: Path, **sft: Any) -> list[torch.Tensor]:
    """The gradient of each step, without clipping, of weights that hardly move."""
    values = config.model_dump()
    values["model"]["bf16"] = False
    values["sft"] |= {"learning_rate": 1e-12, "optimizer": {"max_grad_norm": 0}, "epochs": 1, **sft}
    config, recorder = Config.model_validate(values), GradientRecorder()
    student = Student(*make_tiny(TEXTS, config.model, seed=1))
    data, none = (encode_rows(rows, student.tokenizer, config) for rows in (ROWS[:11], []))
    folder.mkdir()
    trainer = make_trainer(SftInputs(student, data, none, config, folder, 1), [recorder])
    torch.manual_seed(1)
    trainer.train()
    return recorder.steps


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_micro_batches_have_the_gradient_of_the_step(
    micro: Config, tmp_path: Path, micro_batch: int
) -> None:
    whole = gradients(micro, tmp_path / "whole", batch_size=4)
    split = gradients(micro, tmp_path / "split", batch_size=4, micro_batch=micro_batch)
    assert len(whole) == len(split) == 3  # of 4, 4 and 3 rows
    for expected, found in zip(whole, split, strict=True):
        assert expected.abs().max() > 1e-3
        assert (expected - found).abs().max() <= 1e-6
    assert (whole[0] - whole[1]).abs().max() > 1e-3


def test_rows_of_a_step_are_completed_with_blank_rows() -> None:
    sampler = StepSampler(range(7), step_rows=3, unit=2)
    assert list(sampler) == [0, 1, 2, 7, 3, 4, 5, 7, 6, 7]
    assert len(sampler) == 10


def test_blank_rows_cost_nothing_next_to_others() -> None:
    data = append_blank_row(
        {"input_ids": [np.array([5, 6, 7])], "labels": [np.array([IGNORED, 6, 7])]}, pad=0
    )
    rows = [{name: column[i] for name, column in data.items()} for i in (0, 1, 1)]
    batch = RightPaddingCollator(pad=0)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7]]
    blank = RightPaddingCollator(pad=0)(rows[1:])
    assert blank["labels"].tolist() == [[IGNORED, IGNORED]]
