"""An accelerate file for two machines: two launches on one machine train like one process."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from convrec.config import ROOT
from convrec.training.launch import run_training
from convrec.utils.progress import no_progress
from tests.support.film_student import checkpoint
from tests.support.training_jobs import FITS, training_job
from tests.support.trainings import logged_metrics, weights

__all__ = ["checkpoint"]
pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore::FutureWarning")]


@contextmanager
def second_machine(home: Path) -> Iterator[subprocess.Popen[str]]:
    """The command of the second machine, until the block ends."""
    command = [sys.executable, "-m", "convrec.training.join", str(home), "1"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def accelerate_file(folder: Path) -> Path:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = folder / "accelerate.yaml"
    path.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_machines: 2\n"
        f"num_processes: 2\nmachine_rank: 0\nmain_process_ip: 127.0.0.1\n"
        f"main_process_port: {port}\nsame_network: true\n",
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize("stage", ["sft", "rank_grpo"])
def test_two_machines_train_like_one(checkpoint: Path, tmp_path: Path, stage: str) -> None:
    torch.set_num_threads(1)
    single = training_job(stage, checkpoint, tmp_path / "one", tmp_path / "1", launcher="process")
    run_training(FITS[stage], single, no_progress)
    working, file = tmp_path / "home" / "training" / "artifact", accelerate_file(tmp_path)
    launch = {"launcher": "accelerate", "parallel": str(file)}
    job = training_job(stage, checkpoint, tmp_path / "two", working, **launch)
    (tmp_path / "home").mkdir()
    with second_machine(tmp_path / "home") as machine:
        figures, _ = run_training(FITS[stage], job, no_progress)
        assert machine.poll() is None  # it waits for the next training
    assert figures["processes"] == 2
    assert (working / "launch-1.log").is_file()
    one, two, before = (weights(f) for f in (tmp_path / "one", tmp_path / "two", checkpoint))
    assert (one - before).abs().max() > 1e-3
    assert (one - two).abs().max() < 1e-3
    assert len(logged_metrics(tmp_path / "one")) == len(logged_metrics(tmp_path / "two"))
    assert not list(working.glob("launch-*/"))


def test_the_second_machine_says_why_it_ends(tmp_path: Path) -> None:
    for arguments, message in (
        ([str(tmp_path / "none"), "1"], "is not a folder; give the CONVREC_HOME"),
        ([str(tmp_path), "0"], "RANK=0 is the machine that runs convrec"),
        ([], "usage: python -m convrec.training.join HOME RANK"),
    ):
        command = [sys.executable, "-m", "convrec.training.join", *arguments]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 1
        assert message in result.stderr
        assert "Traceback" not in result.stderr
