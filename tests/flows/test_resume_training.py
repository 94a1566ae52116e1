"""A pipeline killed with SIGKILL during training resumes from its last checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store

ROOT = Path(__file__).resolve().parents[2]
STEPS = 24


def run(home: Path, small: dict[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flows.cli", "run", "demo", "--until", "rank_grpo"]
    settings = {**small, "rank_grpo.steps": STEPS, "rank_grpo.save_every": 4}
    settings |= {"rank_grpo.eval_every": 6, "rank_grpo.learning_rate": 1e-2, "sft.epochs": 3}
    settings |= {"rank_grpo.sampler": "constrained"}  # 24 steps need a reward
    for key, value in settings.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    environment = {**os.environ, "CONVREC_HOME": str(home)}
    environment |= {
        "PREFECT_HOME": str(home.parent / f"prefect-{home.name}"),
        "OMP_NUM_THREADS": "1",
    }
    environment["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"
    for name in ("PREFECT_API_URL", "PREFECT_TEST_MODE"):
        environment.pop(name, None)
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(home: Path, small: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Run to the end; return the folder of the Rank-GRPO checkpoint, and its figures."""
    process = run(home, small)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    store = Store(home)
    header = next(h for h in store.headers("checkpoint") if h.ref.stage == "rank_grpo")
    return store.folder(header.ref.artifact_id), header.figures


@pytest.mark.slow
def test_a_killed_pipeline_ends_with_the_same_checkpoint(
    tmp_path: Path, small: dict[str, Any]
) -> None:
    home = tmp_path / "home"
    killed = run(home, small)
    deadline = time.monotonic() + 200
    while not list(home.glob("training/*/checkpoint-[48]")):
        assert killed.poll() is None, killed.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not [h for h in Store(home).headers("checkpoint") if h.ref.stage == "rank_grpo"]

    resumed, figures = finish(home, small)
    assert 0 < figures["resumed_from_step"] < STEPS
    assert figures["steps"] == STEPS
    assert not list(home.glob("training/*"))
    undisturbed, expected = finish(tmp_path / "other", small)
    assert "resumed_from_step" not in expected
    assert resumed.name == undisturbed.name
    for name in ("model.safetensors", "samples.jsonl"):
        assert (resumed / name).read_bytes() == (undisturbed / name).read_bytes(), name
