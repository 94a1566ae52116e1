"""Types of trained and frozen weights, the reference model, and the schedule of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from convrec.config import Config
from convrec.models.load import load_checkpoint
from convrec.stages.rank_grpo.inputs import prepare_inputs
from convrec.stages.rank_grpo.make_trainer import make_trainer
from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.titles.index import TitleIndex
from convrec.training.metrics_log import MetricsLog
from tests.support.trainings import FILMS, SAMPLES, config, weights

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

LORA = {"rank": 2, "alpha": 64}


def settings(frozen: str, **rank_grpo: Any) -> Config:
    values = config(exact=1.0, early=-1.0, **rank_grpo).model_dump()
    values["model"] |= {"weights": frozen}
    return Config.model_validate(values)


def make(checkpoint: Path, folder: Path, configured: Config) -> Any:
    torch.set_num_threads(1)
    inputs = prepare_inputs(
        load_checkpoint(checkpoint), SAMPLES, [], [], TitleIndex(FILMS), configured, 5
    )
    return make_trainer(inputs, folder, MetricsLog(folder), lambda *_: None)


def train(checkpoint: Path, out: Path, configured: Config) -> pl.DataFrame:
    torch.set_num_threads(1)
    _, curves = train_rank_grpo(
        checkpoint, SAMPLES, TitleIndex(FILMS), configured, out, 5, lambda *_: None
    )
    return curves


def types(model: Any, *, trained: bool) -> set[torch.dtype]:
    return {weight.dtype for weight in model.parameters() if weight.requires_grad is trained}


def test_the_reference_model_can_be_bf16(checkpoint: Path, tmp_path: Path) -> None:
    trainer = make(checkpoint, tmp_path, settings("bfloat16", beta=0.1))
    assert types(trainer.model, trained=True) == {torch.float32}
    assert {weight.dtype for weight in trainer.ref_model.parameters()} == {torch.bfloat16}
    curves = train(checkpoint, tmp_path / "out", settings("bfloat16", beta=0.1))
    kl = curves.filter(pl.col("name") == "kl")["value"].to_list()
    assert 0 < kl[0] < 1e-2  # bf16 rounds the reference


def test_adapters_need_no_reference_model(checkpoint: Path, tmp_path: Path) -> None:
    trainer = make(checkpoint, tmp_path, settings("float32", beta=0.1, lora=LORA))
    assert trainer.ref_model is None
    curves = train(checkpoint, tmp_path / "out", settings("float32", beta=0.1, lora=LORA))
    kl = curves.filter(pl.col("name") == "kl")["value"].to_list()
    assert kl[0] == pytest.approx(0, abs=1e-6)
    assert kl[1] > 1e-6


def test_a_bf16_base_is_merged_with_float32_adapters(checkpoint: Path, tmp_path: Path) -> None:
    configured = settings("bfloat16", lora=LORA, learning_rate=1e-4)
    trainer = make(checkpoint, tmp_path, configured)
    assert types(trainer.model, trained=False) == {torch.bfloat16}
    assert types(trainer.model, trained=True) == {torch.float32}
    train(checkpoint, tmp_path / "out", configured)
    merged, base = weights(tmp_path / "out"), weights(checkpoint).bfloat16().float()
    moved = (merged - base).abs()
    assert merged.dtype == torch.float32
    assert ((moved > 0) & (moved < base.abs() * 2**-9)).any()  # less than bf16 can tell apart


def test_the_schedule_of_a_training(checkpoint: Path, tmp_path: Path) -> None:
    configured = config(
        steps=4, learning_rate=1e-3, schedule="drop", drop_step=3, optimizer={"beta2": 0.99}
    )
    trainer = make(checkpoint, tmp_path, configured)
    assert trainer.args.adam_beta2 == 0.99
    trainer.train()
    logged = [log["learning_rate"] for log in trainer.state.log_history if "loss" in log]
    assert logged == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
