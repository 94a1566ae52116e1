"""The optimizer and the schedule of a training are what its settings say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from convrec.config import Config
from convrec.errors import TrainingError
from convrec.training.optimization import check_optimizer, optimization_arguments

STEPS = 10


def trainer(folder: Path, section: str, values: dict[str, Any]) -> Trainer:
    settings = getattr(Config.model_validate({section: values}), section)
    arguments = optimization_arguments(settings, STEPS)
    trainer = Trainer(
        nn.Linear(2, 2), TrainingArguments(output_dir=str(folder), use_cpu=True, **arguments)
    )
    trainer.create_optimizer_and_scheduler(STEPS)
    return trainer


def rates(folder: Path, section: str, **values: Any) -> list[float]:
    """The learning rate of each step, relative to the peak."""
    made = trainer(folder, section, {"learning_rate": 1.0, **values})
    json.dumps(made.lr_scheduler.state_dict())
    found = []
    for _ in range(STEPS):
        found.append(made.optimizer.param_groups[0]["lr"])
        made.optimizer.step()
        made.lr_scheduler.step()
    return found


def test_schedules(tmp_path: Path) -> None:
    assert rates(tmp_path, "rank_grpo") == [1.0] * STEPS
    assert rates(tmp_path, "rank_grpo", warmup_ratio=0.2) == [0.0, 0.5, *[1.0] * 8]
    falling = pytest.approx([1 - step / STEPS for step in range(STEPS)])
    assert rates(tmp_path, "sft", schedule="linear", warmup_ratio=0) == falling
    cosine = rates(tmp_path, "sft")
    assert cosine[:2] == [0.0, 1.0]
    assert cosine[1:] == sorted(cosine[1:], reverse=True)
    assert cosine[-1] < 0.05


@pytest.mark.filterwarnings("ignore:Both num_training_steps")
def test_a_drop_applies_from_its_step_on(tmp_path: Path) -> None:
    dropped = rates(tmp_path, "rank_grpo", schedule="drop", drop_step=4, drop_factor=0.25)
    assert dropped == [1.0] * 3 + [0.25] * 7
    warm = rates(tmp_path, "sft", schedule="drop", drop_step=6, warmup_ratio=0.2)
    assert warm[2:] == [1.0] * 3 + [0.1] * 5
    assert warm[0] < warm[1] < 1


def test_the_optimizer_has_its_settings(tmp_path: Path) -> None:
    optimizer = {"name": "adamw_torch", "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6}
    values = {"optimizer": {**optimizer, "weight_decay": 0.1, "max_grad_norm": 0}}
    made = trainer(tmp_path, "sft", values)
    assert type(made.optimizer) is torch.optim.AdamW
    group = made.optimizer.param_groups[0]
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.8, 0.99), 1e-6, 0.1)
    assert not group["fused"]
    assert made.args.max_grad_norm == 0
    plain = trainer(tmp_path, "sft", {})
    group = plain.optimizer.param_groups[0]
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-8, 0.0)
    assert group["fused"]
    assert plain.args.max_grad_norm == 1.0


def test_missing_parts_of_an_optimizer_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Config.model_validate({"sft": {"optimizer": {"name": "adamw_8bit"}}}).sft
    found: list[object] = [None, "spec"]
    monkeypatch.setattr("convrec.training.optimization.find_spec", lambda name: found.pop(0))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(TrainingError) as raised:
        check_optimizer(settings, "sft")
    assert str(raised.value) == (
        "bitsandbytes is not installed; pip install bitsandbytes, or set "
        "sft.optimizer.name=adamw_torch_fused"
    )
    with pytest.raises(TrainingError, match="adamw_8bit needs a GPU, but this machine has none"):
        check_optimizer(settings, "sft")
    check_optimizer(Config().rank_grpo, "rank_grpo")
