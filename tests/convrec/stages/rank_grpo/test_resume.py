"""A run that is killed with SIGKILL and resumed ends with the bytes of an undisturbed run."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from convrec.config import ROOT
from convrec.training.checkpoint import latest_checkpoint, step_of
from convrec.training.metrics_log import SAMPLES
from tests.support.trainings import train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def kill_at(step: int, kind: str, checkpoint: Path, out: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "tests.support.trainings", kind]
    paths = [str(path) for path in (checkpoint, out, folder)]
    ended = subprocess.run(
        [*command, *paths, str(step)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("kind", "kills", "saved"),
    [
        ("rank_grpo", [5], [4]),
        pytest.param("rank_grpo", [1, 4, 7], [0, 2, 6], marks=pytest.mark.slow),
        pytest.param("twice", [3, 7], [2, 6], marks=pytest.mark.slow),
        pytest.param("grpo", [7], [6], marks=pytest.mark.slow),
        pytest.param("parts", [5], [4], marks=pytest.mark.slow),
        ("sft", [12], [10]),
        ("sft_steps", [8], [6]),
        pytest.param("sft_steps", [2, 6, 12], [0, 3, 9], marks=pytest.mark.slow),
        pytest.param("sft_lora", [12, 18], [10, 15], marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_like_an_undisturbed_one(
    checkpoint: Path, tmp_path: Path, kind: str, kills: list[int], saved: list[int]
) -> None:
    folder, out = tmp_path / "working", tmp_path / "out"
    undisturbed = tmp_path / "undisturbed"
    expected = train(kind, checkpoint, undisturbed, tmp_path / "other")
    for kill, step in zip(kills, saved, strict=True):
        kill_at(kill, kind, checkpoint, out, folder)
        assert step_of(latest_checkpoint(folder)) == step
    steps: list[int] = []
    curves = train(kind, checkpoint, out, folder, steps.append)
    assert steps[0] > saved[-1]
    assert curves == expected
    for name in ("model.safetensors", SAMPLES):
        if (undisturbed / name).exists():
            assert (out / name).read_bytes() == (undisturbed / name).read_bytes(), name
