"""Which checkpoint a training resumes from, and what it says then."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from transformers import Trainer, TrainerState, TrainingArguments
from transformers.trainer_utils import compare_trainer_and_checkpoint_args
from transformers.utils import logging

from convrec.config import Config
from convrec.training.checkpoint import CheckpointCallback, latest_checkpoint, run_trainer
from convrec.training.optimization import optimization_arguments


def test_incomplete_and_foreign_checkpoints_are_ignored(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    (tmp_path / ".saving").mkdir()
    assert latest_checkpoint(tmp_path) is None
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3" / "run.json").write_text('{"versions": {"torch": "0.4"}}')
    assert latest_checkpoint(tmp_path) is None


class FakeTrainer:
    """Does what transformers does at the start of a training that resumes."""

    def __init__(self, folder: Path, saved: TrainerState, **arguments: Any) -> None:
        self.args = TrainingArguments(
            output_dir=str(folder), use_cpu=True, per_device_train_batch_size=4, **arguments
        )
        self.saved = saved

    def train(self, resume_from_checkpoint: str | None) -> None:
        logging.get_logger("transformers.trainer_utils").warning_once.__func__.cache_clear()
        compare_trainer_and_checkpoint_args(self.args, self.saved)
        Trainer(nn.Linear(2, 2), self.args).create_optimizer_and_scheduler(10)


@pytest.mark.parametrize(
    ("saved_every", "shown"),
    [(5, False), (7, True)],
    ids=["another micro-batch", "another setting"],
)
def test_only_unexpected_warnings_are_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, saved_every: int, shown: bool
) -> None:
    drop = {"rank_grpo": {"schedule": "drop", "drop_step": 4}}
    arguments = optimization_arguments(Config.model_validate(drop).rank_grpo, 10)
    saved = TrainerState(train_batch_size=2, save_steps=saved_every)
    trainer = FakeTrainer(tmp_path, saved, save_steps=5, **arguments)
    saved.logging_steps, saved.eval_steps = trainer.args.logging_steps, trainer.args.eval_steps
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run_trainer(trainer, CheckpointCallback(tmp_path / "run"), "")
    assert [str(w.message) for w in caught if "num_stable_steps" in str(w.message)] == []
    assert any("do not match" in message for message in caplog.messages) == shown
