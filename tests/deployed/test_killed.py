"""Deployed runs that are killed with SIGKILL in the middle of training, and two runs at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from convrec.artifacts import Store

if TYPE_CHECKING:
    from .conftest import Deployed

ROOT = Path(__file__).resolve().parents[2]
Tiny = dict[str, Any]


def engines(worker: int) -> list[psutil.Process]:
    """The processes in which a worker's flow runs go on."""
    return [
        child
        for child in psutil.Process(worker).children(recursive=True)
        if "prefect" in " ".join(child.cmdline())
    ]


def undisturbed(folder: Path, tiny: Tiny) -> Store:
    """The same run from the command line, with a warehouse of its own."""
    folder.mkdir()  # Prefect makes its home in it, but not the folder
    command = [sys.executable, "-m", "flows.cli", "run", "demo", "--until", "rank_grpo"]
    for key, value in tiny.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PREFECT_")}
    environment |= {"CONVREC_HOME": str(folder / "home"), "PREFECT_HOME": str(folder / "prefect")}
    environment |= {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return Store(folder / "home")


def weights(store: Store) -> dict[str, tuple[str, bytes]]:
    """Stage → (artifact id, weights) of the checkpoints."""
    return {
        header.ref.stage: (
            header.ref.artifact_id,
            (store.folder(header.ref.artifact_id) / "model.safetensors").read_bytes(),
        )
        for header in store.headers("checkpoint")
    }


@pytest.mark.slow
def test_a_run_killed_in_training_is_noticed_and_retried_to_the_same_checkpoint(
    deployed: Deployed, tiny: Tiny, tmp_path: Path
) -> None:
    worker = deployed.work()
    run = deployed.due("pipeline/demo", overrides=tiny, until="rank_grpo")

    saved = deployed.home / "training"
    deployed.wait_for(lambda: list(saved.glob("checkpoint-*/checkpoint-*")), 600)
    (sft,) = saved.glob("checkpoint-*")
    assert not Store(deployed.home).headers("checkpoint")  # in the middle of sft
    for process in engines(worker.pid):
        process.send_signal(signal.SIGKILL)
    assert deployed.finish(run, 120) == "CRASHED"  # the worker has seen it
    # It says so twice; a retry before the second time would be taken for crashed as well.
    said = deployed.folder / "worker.log"
    deployed.wait_for(lambda: "flow_runs.worker - Check whether" in said.read_text(), 120)

    (left,) = [a["data"] for a in deployed.artifacts(run) if a["key"] == "failure"]
    assert "SIGKILL" in left
    assert "prefect deployment run pipeline/demo" in left

    deployed.run("prefect", "flow-run", "retry", run)
    deployed.wait_for(lambda: Store(deployed.home).headers("checkpoint"), 600)
    deployed.wait_for(
        lambda: any(step.parent != sft for step in saved.glob("checkpoint-*/checkpoint-*")), 600
    )
    assert len(Store(deployed.home).headers("checkpoint")) == 1  # in the middle of rank_grpo
    whole_group(worker)
    assert deployed.finish(run, 300) == "CRASHED"  # nobody is left to see it but the heartbeats

    deployed.work()
    deployed.run("prefect", "flow-run", "retry", run)
    assert deployed.finish(run, 600) == "COMPLETED", deployed.logs()
    store = Store(deployed.home)
    assert all(h.figures.get("resumed_from_step", 0) > 0 for h in store.headers("checkpoint"))
    assert weights(store) == weights(undisturbed(tmp_path / "other", tiny))


def whole_group(worker: subprocess.Popen[bytes]) -> None:
    """Kill a worker and everything that it started, at once."""
    family = [*psutil.Process(worker.pid).children(recursive=True), psutil.Process(worker.pid)]
    for process in family:
        process.send_signal(signal.SIGKILL)
    worker.wait(30)


@pytest.mark.slow
def test_two_deployments_share_a_warehouse(deployed: Deployed, tiny: Tiny) -> None:
    deployed.work()
    first = deployed.due("pipeline/demo", overrides=tiny, until="sft")
    second = deployed.due("build-sft-data/reddit-v2", profile="demo", overrides=tiny)
    assert deployed.finish(first) == deployed.finish(second) == "COMPLETED", deployed.logs()
    one, other = deployed.record(first), deployed.record(second)
    ids = {e["kind"]: e["artifact_id"] for e in one["stages"] if e["artifact_id"]}
    assert all(ids[e["kind"]] == e["artifact_id"] for e in other["stages"])
    answers = one["llm"]["sent"] + other["llm"]["sent"]
    assert answers == one["llm"]["requests"] == other["llm"]["requests"]  # none bought twice
