"""`train.parallel` fsdp and zero3: two processes with sharded weights train like one."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import pytest
import torch

from convrec.training.checkpoint import step_of
from convrec.training.launch import run_training
from convrec.utils.progress import no_progress
from tests.support.film_student import checkpoint
from tests.support.sharded_training import FSDP, ZERO3, fit_sharded, run_sharded, with_bf16
from tests.support.timing import Timed
from tests.support.training_jobs import FITS, run_until_killed, training_job
from tests.support.trainings import logged_metrics, weights

__all__ = ["checkpoint"]
pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore::FutureWarning")]


@pytest.mark.parametrize("parallel", ["fsdp", ZERO3])
def test_processes_with_sharded_weights_train_like_one(
    checkpoint: Path,
    tmp_path: Path,
    parallel: str,
    timed: Timed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    torch.set_num_threads(1)
    single = training_job("sft", checkpoint, tmp_path / "one", tmp_path / "1", launcher="process")
    with timed("one of sft"):
        run_training(FITS["sft"], single, no_progress)
    settings = {**FSDP, "parallel": parallel}
    sharded = training_job("sft", checkpoint, tmp_path / "two", tmp_path / "2", **settings)
    with timed(f"two of sft by {parallel}"):
        figures, _ = run_sharded(fit_sharded, sharded, no_progress)
    assert figures["processes"] == 2
    assert figures["sharded"] == "true"
    one, two, before = (weights(f) for f in (tmp_path / "one", tmp_path / "two", checkpoint))
    assert (one - before).abs().max() > 1e-3
    assert (one - two).abs().max() < 1e-3
    lines = zip(logged_metrics(tmp_path / "one"), logged_metrics(tmp_path / "two"), strict=True)
    for expected, line in lines:
        assert line == pytest.approx(expected, abs=2e-4), expected["step"]


def test_a_killed_launch_of_fsdp_resumes(checkpoint: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "working", tmp_path / "out"
    run_until_killed("tests.support.sharded_training", checkpoint, out, folder, 12)
    assert not out.exists()
    saved = step_of(max(folder.glob("checkpoint-*"), key=step_of))
    assert saved >= 10

    steps: list[int] = []
    job = training_job("sft", checkpoint, out, folder, **FSDP)
    run_sharded(fit_sharded, job, lambda done, total, text: steps.append(done))
    assert steps[0] == saved + 1
    undisturbed = tmp_path / "undisturbed"
    job = training_job("sft", checkpoint, undisturbed, tmp_path / "other", **FSDP)
    run_sharded(fit_sharded, job, no_progress)
    assert logged_metrics(out) == logged_metrics(undisturbed)
    assert torch.equal(weights(out), weights(undisturbed))


def test_fsdp_in_bf16_logs_its_loss_in_float32(checkpoint: Path, tmp_path: Path) -> None:
    job = training_job("sft", checkpoint, tmp_path / "out", tmp_path / "working", **FSDP)
    figures, _ = run_sharded(fit_sharded, with_bf16(job), no_progress)
    if figures["bf16"] != "true":
        pytest.skip("this processor does not compute in bf16")
    losses = [line["loss"] for line in logged_metrics(tmp_path / "out") if "loss" in line]
    rounded = [loss for loss in losses if float(torch.tensor(loss).bfloat16()) == loss]
    assert len(rounded) < len(losses) / 2
    assert mean(losses[-5:]) < mean(losses[:5])
