"""A step in micro-batches has the gradient of the whole step, with less memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainerCallback
from trl import GRPOTrainer

from convrec.config import Config
from convrec.errors import ConfigError
from convrec.models.load import load_checkpoint
from convrec.rank_grpo import zero_advantage
from convrec.stages.rank_grpo.inputs import prepare_inputs
from convrec.stages.rank_grpo.make_trainer import make_trainer
from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import format_line
from convrec.training.metrics_log import MetricsLog
from tests.support.trainings import FILMS, SAMPLES, config

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

MORE = [*FILMS, ("4", "Heathers", 1989), ("5", "Ali", 2001)]
STEP = {"prompts_per_step": 2, "group_size": 4, "exact": 1.0, "early": -1.0, "overflow": -0.5}


def settings(recompute: str = "off", **rank_grpo: Any) -> Config:
    values = config(**STEP | rank_grpo).model_dump()
    return Config.model_validate(values | {"train": {"gradient_checkpointing": recompute}})


def trainer_of(checkpoint: Path, folder: Path, configured: Config) -> GRPOTrainer:
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    student, lines = load_checkpoint(checkpoint), [format_line(*film[1:]) for film in MORE]
    inputs = prepare_inputs(student, SAMPLES, [], lines, TitleIndex(MORE), configured, 5)
    return make_trainer(inputs, folder, MetricsLog(folder), lambda *_: None)


class GradientRecorder(TrainerCallback):
    """Records the gradient of each step; then moves the weights independently of the optimizer."""

    def __init__(self, model: Any) -> None:
        self.gradients: list[Tensor] = []
        self.trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.start = [weight.detach().clone() for weight in self.trained]

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        gradients = [weight.grad.flatten() for weight in self.trained]
        self.gradients.append(torch.cat(gradients).clone())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        noise = torch.Generator().manual_seed(state.global_step)
        for weight, start in zip(self.trained, self.start, strict=True):
            moved = start + 0.02 * torch.randn(start.shape, generator=noise)
            weight.data.copy_(moved)


def gradients(checkpoint: Path, folder: Path, configured: Config) -> tuple[list[Tensor], Any]:
    trainer = trainer_of(checkpoint, folder, configured)
    trainer.args.max_grad_norm = 0  # clipping would hide a wrong scale
    recorder = GradientRecorder(trainer.model)
    trainer.add_callback(recorder)
    trainer.train()
    return recorder.gradients, trainer.rollout.lists


@pytest.mark.parametrize(
    "values",
    [
        {"reduction": "rank", "beta": 0.0},
        {"reduction": "rank", "beta": 0.1, "iterations": 2},
        {"reduction": "token", "beta": 0.1, "iterations": 2},
        {"reduction": "sequence", "beta": 0.1, "iterations": 2},
        {"reduction": "rank", "beta": 0.1, "iterations": 2, "sampler": "constrained"},
        {"algorithm": "gspo", "beta": 0.1, "iterations": 2},
    ],
    ids=lambda values: "-".join(map(str, values.values())),
)
def test_the_gradient_is_that_of_the_whole_step(
    checkpoint: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    values = {"sampler": "free", "steps": 2} | values
    whole, lists = gradients(checkpoint, tmp_path / "whole", settings(**values))
    split, same = gradients(checkpoint, tmp_path / "split", settings(micro_batch=2, **values))
    assert lists == same
    assert len(whole) == len(split) == 2
    for expected, actual in zip(whole, split, strict=True):
        assert expected.abs().max() > 1e-3
        assert (expected - actual).abs().max() <= 1e-6


@pytest.mark.parametrize(
    "values",
    [
        {"reduction": "rank"},
        {"reduction": "token"},
        {"reduction": "sequence"},
        {"algorithm": "grpo"},
        {"algorithm": "dr_grpo"},
        {"algorithm": "dapo"},
    ],
    ids=lambda values: "-".join(values.values()),
)
def test_lists_without_advantage_are_left_out_of_the_loss(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]
) -> None:
    values = {"sampler": "constrained", "beta": 0.0, "steps": 6, "group_size": 2} | values
    configured = settings(micro_batch=2, **values)
    read: list[int] = []

    def gradients_and_lists(folder: Path) -> tuple[list[Tensor], int]:
        read.clear()
        found, _ = gradients(checkpoint, folder, configured)
        return found, sum(read)

    def count_lists(module: Any, args: Any, kwargs: Any) -> None:
        if module.training:
            read.append(len(kwargs["input_ids"]))

    original = GRPOTrainer.__init__

    def counting(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.model.register_forward_pre_hook(count_lists, with_kwargs=True)

    monkeypatch.setattr(GRPOTrainer, "__init__", counting)
    whole, all_lists = gradients_and_lists(tmp_path / "whole")
    monkeypatch.setattr(zero_advantage, "is_small", lambda model: False)
    fewer, lists = gradients_and_lists(tmp_path / "fewer")
    assert 0 < lists < all_lists == 6 * 4
    assert len(whole) == len(fewer) == 6
    assert max(expected.abs().max() for expected in whole) > 1e-3
    for expected, actual in zip(whole, fewer, strict=True):
        assert (expected - actual).abs().max() <= 1e-6


def test_recomputed_activations_give_the_same_lists_and_gradients(
    checkpoint: Path, tmp_path: Path
) -> None:
    values = {"beta": 0.1, "steps": 2, "micro_batch": 4}
    kept, lists = gradients(checkpoint, tmp_path / "kept", settings(**values))
    again, same = gradients(checkpoint, tmp_path / "again", settings("on", **values))
    assert lists == same
    for expected, actual in zip(kept, again, strict=True):
        assert expected.abs().max() > 1e-3
        assert (expected - actual).abs().max() <= 1e-6


def test_sampling_uses_the_cache_while_the_loss_recomputes(
    checkpoint: Path, tmp_path: Path
) -> None:
    trainer = trainer_of(checkpoint, tmp_path / "out", settings("on", steps=1, sampler="free"))
    calls: list[tuple[bool, int]] = []

    def record(module: Any, args: Any, kwargs: Any) -> None:
        calls.append((module.training, kwargs["input_ids"].shape[1]))

    layer = trainer.model.model.layers[0].mlp
    runs: list[bool] = []
    layer.register_forward_pre_hook(lambda module, args: runs.append(module.training))
    trainer.model.register_forward_pre_hook(record, with_kwargs=True)
    trainer.train()
    sampling = [width for is_training, width in calls if not is_training]
    assert sampling[0] > 1
    assert set(sampling[1:]) == {1}
    assert runs.count(False) == len(sampling)
    without_gradient = sum(is_training for is_training, _ in calls) - 1
    assert runs.count(True) == without_gradient + 2  # the loss, and once more going back


def test_a_resumed_run_keeps_the_micro_batch_it_began_with(
    checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "working"
    began = trainer_of(checkpoint, folder, settings("on", micro_batch=2)).args
    resumed = trainer_of(checkpoint, folder, settings("auto")).args
    for args in (began, resumed):
        assert (args.per_device_train_batch_size, args.steps_per_generation) == (2, 4)
        assert args.gradient_accumulation_steps == 4
        assert args.activation_checkpointing
    changed = trainer_of(checkpoint, folder, settings("auto", micro_batch=4)).args
    assert changed.per_device_train_batch_size == 4
    other_step = trainer_of(checkpoint, folder, settings("auto", prompts_per_step=3)).args
    assert (other_step.per_device_train_batch_size, other_step.steps_per_generation) == (12, 1)


def test_a_small_model_takes_a_step_in_one_piece(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    figures, _ = train_rank_grpo(
        checkpoint, SAMPLES, TitleIndex(FILMS), settings("auto"), out, 5, lambda *_: None
    )
    assert (figures["micro_batch"], figures["recompute"]) == (8, "false")


@pytest.mark.parametrize(
    ("micro_batch", "message"),
    [
        (9, r"rank_grpo\.micro_batch=9 is larger than a step, which has 8 rows"),
        (
            3,
            r"micro_batch=3 does not divide the 8 rows .* --set rank_grpo\.micro_batch=2",
        ),
    ],
)
def test_a_micro_batch_that_cannot_be_is_refused(
    checkpoint: Path, tmp_path: Path, micro_batch: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        trainer_of(checkpoint, tmp_path / "out", settings(micro_batch=micro_batch))
