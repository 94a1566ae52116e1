"""SFT that starts from a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from convrec.config import Config
from convrec.models.load import load_checkpoint
from convrec.stages.sft.train import train_sft
from tests.support.micro import ROWS
from tests.support.trainings import weights


def test_training_continues_from_a_checkpoint(micro: Config, tmp_path: Path) -> None:
    first, _ = train_sft(ROWS, ROWS[:4], micro, tmp_path / "first", seed=1)
    changes = {"steps": 2, "learning_rate": 1e-6, "schedule": "constant", "warmup_ratio": 0.0}
    config = micro.model_copy(update={"sft": micro.sft.model_copy(update=changes)})
    start = tmp_path / "first"
    figures, _ = train_sft(ROWS, ROWS[:4], config, tmp_path / "second", seed=2, checkpoint=start)
    before, after = weights(start), weights(tmp_path / "second")
    assert figures["steps"] == 2
    assert not torch.equal(before, after)
    assert (before - after).abs().max() < 1e-5  # two steps of 1e-6
    assert figures["validation_loss"] == pytest.approx(first["validation_loss"], abs=1e-3)
    first_ids, second_ids = (
        load_checkpoint(folder).tokenizer.encode(ROWS[0][1])
        for folder in (start, tmp_path / "second")
    )
    assert first_ids == second_ids
