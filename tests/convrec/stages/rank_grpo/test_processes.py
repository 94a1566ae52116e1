"""Two processes under torchrun train as one does on the same data and lists."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.convrec.stages.rank_grpo.world import recorded, train, weights

ROOT = Path(__file__).resolve().parents[3]
LAUNCH = "-m torch.distributed.run --standalone --nproc_per_node 2"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["written", "written_token"])
def test_two_processes_equal_one(
    checkpoint: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convrec.stages.rank_grpo import train as rl

    monkeypatch.setattr(rl, "_rollout", rl._rollout)  # `train` replaces it
    train(kind, checkpoint, tmp_path / "one", None)
    paths = [str(checkpoint), str(tmp_path / "two"), str(tmp_path / "unused"), "0"]
    command = [
        sys.executable,
        *LAUNCH.split(),
        "-m",
        "tests.convrec.stages.rank_grpo.world",
        kind,
        *paths,
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    one, two, before = (weights(f) for f in (tmp_path / "one", tmp_path / "two", checkpoint))
    assert (one - before).abs().max() > 1e-3
    assert (one - two).abs().max() < 1e-5
    for alone, together in zip(recorded(tmp_path / "one"), recorded(tmp_path / "two"), strict=True):
        assert together == pytest.approx(alone, abs=1e-4, nan_ok=True), alone["step"]
