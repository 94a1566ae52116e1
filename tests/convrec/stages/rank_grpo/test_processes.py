"""Two processes under torchrun train like one on the same data and lists."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from convrec.config import ROOT
from convrec.stages.rank_grpo import make_trainer as trainers
from tests.support.trainings import logged_metrics, train, weights

LAUNCH = "-m torch.distributed.run --standalone --nproc_per_node 2"

SAME = ("step", "loss", "grad_norm", "reward", "exact_n", "validation_ndcg@3")
"""Metrics that do not depend on which lists share a micro-batch."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fixed", "fixed_token", "fixed_parts"])
def test_two_processes_equal_one(
    checkpoint: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainers, "make_rollout", trainers.make_rollout)  # `train` replaces it
    train(kind, checkpoint, tmp_path / "one", None)
    paths = [str(checkpoint), str(tmp_path / "two"), str(tmp_path / "unused"), "0"]
    command = [
        sys.executable,
        *LAUNCH.split(),
        "-m",
        "tests.support.trainings",
        kind,
        *paths,
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    one, two, before = (weights(f) for f in (tmp_path / "one", tmp_path / "two", checkpoint))
    assert (one - before).abs().max() > 1e-3
    assert (one - two).abs().max() < 1e-5
    for alone, shared in zip(
        logged_metrics(tmp_path / "one"), logged_metrics(tmp_path / "two"), strict=True
    ):
        if kind == "fixed_parts":  # TRL averages other metrics over micro-batches of other lists
            alone, shared = ({name: of.get(name) for name in SAME} for of in (alone, shared))
        assert shared == pytest.approx(alone, abs=1e-4, nan_ok=True), alone["step"]
