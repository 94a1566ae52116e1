"""`train.launcher=accelerate`: two CPU processes train like one, report errors, and resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from convrec.config import Config
from convrec.errors import TrainingError
from convrec.training.checkpoint import step_of
from convrec.training.job import FitFunction
from convrec.training.launch import run_training
from convrec.utils.progress import no_progress
from tests.support import training_jobs
from tests.support.film_student import checkpoint
from tests.support.timing import Timed
from tests.support.training_jobs import FITS, TWO_PROCESSES, run_until_killed, training_job
from tests.support.trainings import logged_metrics, weights

__all__ = ["checkpoint"]

pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore::FutureWarning")]


@pytest.mark.parametrize("stage", ["sft", "rank_grpo"])
def test_two_processes_train_like_one(
    checkpoint: Path, tmp_path: Path, stage: str, timed: Timed
) -> None:
    reports: list[tuple[int, int, str]] = []
    for name, train in {"one": {"launcher": "process"}, "two": TWO_PROCESSES}.items():
        torch.set_num_threads(1)
        folder = tmp_path / f"{name}-working"
        job = training_job(stage, checkpoint, tmp_path / name, folder, **train)
        reports.clear()
        with timed(f"{name} of {stage}"):
            figures, curves = run_training(FITS[stage], job, lambda *report: reports.append(report))
        assert figures.get("processes", 1) == train.get("processes", 1)
        assert len(curves) > 0
    one, two, before = (weights(f) for f in (tmp_path / "one", tmp_path / "two", checkpoint))
    assert (one - before).abs().max() > 1e-3
    apart = (one - two).abs()  # AdamW amplifies gradients that are nearly 0
    assert apart.max() < 1e-3
    assert (apart > 1e-4).float().mean() < 1e-4
    single, shared = logged_metrics(tmp_path / "one"), logged_metrics(tmp_path / "two")
    assert len(single) == len(shared)
    for expected, line in zip(single, shared, strict=True):
        assert line == pytest.approx(expected, abs=2e-4, nan_ok=True), expected["step"]
    assert reports[-1][0] == reports[-1][1] == figures["steps"]


def test_three_rows_are_shared_in_micro_batches(checkpoint: Path, tmp_path: Path) -> None:
    """Each process has two passes of one row; the last pass of the second one is blank."""
    for name, train in {"one": {"launcher": "process"}, "two": TWO_PROCESSES}.items():
        torch.set_num_threads(1)
        job = training_job("sft", checkpoint, tmp_path / name, tmp_path / f"{name}-w", **train)
        values = job.config.model_dump()
        values["sft"] |= {"batch_size": 3, "micro_batch": 3 if name == "one" else 1}
        values["sft"] |= {"steps": 7, "eval_every": 3, "keep": "last"}
        job = replace(job, config=Config.model_validate(values))
        figures, _ = run_training(FITS["sft"], job, no_progress)
        assert figures["micro_batch"] == values["sft"]["micro_batch"]
    one, two = (weights(tmp_path / name) for name in ("one", "two"))
    assert (one - weights(checkpoint)).abs().max() > 1e-3
    assert (one - two).abs().max() < 1e-3
    lines = zip(logged_metrics(tmp_path / "one"), logged_metrics(tmp_path / "two"), strict=True)
    for expected, line in lines:
        assert line == pytest.approx(expected, abs=1e-4), expected["step"]


@pytest.mark.parametrize(("stage", "kill", "saved"), [("sft", 12, 10), ("rank_grpo", 5, 4)])
def test_a_killed_launch_resumes(
    checkpoint: Path, tmp_path: Path, stage: str, kill: int, saved: int
) -> None:
    folder, out = tmp_path / "working", tmp_path / "out"
    run_until_killed("tests.support.training_jobs", stage, checkpoint, out, folder, kill)
    assert not out.exists()
    latest = max(folder.glob("checkpoint-*"), key=step_of)
    assert step_of(latest) >= saved  # the worker processes end a moment later

    steps: list[int] = []
    job = training_job(stage, checkpoint, out, folder, **TWO_PROCESSES)
    _, curves = run_training(FITS[stage], job, lambda done, total, text: steps.append(done))
    assert steps[0] > saved
    undisturbed = tmp_path / "undisturbed"
    job = training_job(stage, checkpoint, undisturbed, tmp_path / "other", **TWO_PROCESSES)
    _, expected = run_training(FITS[stage], job, no_progress)
    untimed = [point for point in expected.iter_rows() if "seconds" not in point[1]]
    assert [point for point in curves.iter_rows() if "seconds" not in point[1]] == untimed
    assert torch.equal(weights(out), weights(undisturbed))


def test_a_launch_is_retried_if_its_port_is_taken(checkpoint: Path, tmp_path: Path) -> None:
    job = training_job("sft", checkpoint, tmp_path / "out", tmp_path / "working", **TWO_PROCESSES)
    figures, _ = run_training(training_jobs.find_port_taken, job, no_progress)
    assert figures["processes"] == 2
    assert (tmp_path / "working" / "tried").exists()


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (
            training_jobs.raise_unexpected,
            r"failed \(exit status 1\): KeyError: 'no such film'; see",
        ),
        (training_jobs.kill_one_process, r"killed with SIGKILL.*set a lower sft.micro_batch"),
        (training_jobs.run_out_of_memory, r"memory \(.*20.00 GiB\); set a lower sft"),
        (training_jobs.exit_silently, r"failed \(exit status 7\): no error message; see"),
    ],
)
def test_a_failed_launch_has_a_one_line_message(
    checkpoint: Path, tmp_path: Path, fit: FitFunction, message: str
) -> None:
    job = training_job("sft", checkpoint, tmp_path / "out", tmp_path / "working", **TWO_PROCESSES)
    with pytest.raises(TrainingError, match=message) as raised:
        run_training(fit, job, no_progress)
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "working").glob("launch-*/"))
