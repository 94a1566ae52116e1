"""Two processes under torchrun train as one does on the same data and lists."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from convrec.sft.student import load_checkpoint
from convrec.training.record import METRICS
from tests.convrec.training.world import train

ROOT = Path(__file__).resolve().parents[3]
LAUNCH = "-m torch.distributed.run --standalone --nproc_per_node 2"


def weights(folder: Path) -> torch.Tensor:
    model = load_checkpoint(folder).model
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def figures(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if "seconds" not in name}
        for line in lines
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["written", "written_token"])
def test_two_processes_equal_one(
    checkpoint: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convrec.training import rl

    monkeypatch.setattr(rl, "_rollout", rl._rollout)  # `train` replaces it
    train(kind, checkpoint, tmp_path / "one", None)
    paths = [str(checkpoint), str(tmp_path / "two"), str(tmp_path / "unused"), "0"]
    command = [sys.executable, *LAUNCH.split(), "-m", "tests.convrec.training.world", kind, *paths]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    one, two, before = (weights(f) for f in (tmp_path / "one", tmp_path / "two", checkpoint))
    assert (one - before).abs().max() > 1e-3
    assert (one - two).abs().max() < 1e-5
    for alone, together in zip(figures(tmp_path / "one"), figures(tmp_path / "two"), strict=True):
        assert together == pytest.approx(alone, abs=1e-4, nan_ok=True), alone["step"]
