"""Deployed runs that are killed with SIGKILL during training, and two runs at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from convrec.artifacts import Store
from convrec.config import ROOT
from tests.support.deployment import Deployment

Tiny = dict[str, Any]


def flow_run_processes(worker: int) -> list[psutil.Process]:
    """The processes of a worker's flow runs."""
    return [
        child
        for child in psutil.Process(worker).children(recursive=True)
        if "prefect" in " ".join(child.cmdline())
    ]


def run_undisturbed(folder: Path, tiny: Tiny) -> Store:
    """The same run from the command line, in another warehouse."""
    folder.mkdir()  # Prefect creates its home, but no parent folder
    command = [sys.executable, "-m", "flows.cli", "run", "demo", "--until", "rank_grpo"]
    for key, value in tiny.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PREFECT_")}
    environment |= {"CONVREC_HOME": str(folder / "home"), "PREFECT_HOME": str(folder / "prefect")}
    environment |= {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
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
def test_a_run_killed_in_training_is_retried_to_the_same_bytes(
    deployed: Deployment, tiny: Tiny, tmp_path: Path
) -> None:
    worker = deployed.start_worker()
    run = deployed.schedule_run("pipeline/demo", overrides=tiny, until="rank_grpo")

    saved = deployed.home / "training"
    deployed.wait_for(lambda: list(saved.glob("checkpoint-*/checkpoint-*")), 600)
    (sft,) = saved.glob("checkpoint-*")
    assert not Store(deployed.home).headers("checkpoint")  # it is training sft
    for process in flow_run_processes(worker.pid):
        process.send_signal(signal.SIGKILL)
    assert deployed.wait_for_run(run, 120) == "CRASHED"  # reported by the worker
    # The worker reports it twice; the second report would also mark an early retry as crashed.
    log = deployed.folder / "worker.log"
    deployed.wait_for(lambda: "flow_runs.worker - Check whether" in log.read_text(), 120)

    page = deployed.artifact_data(run, "failure")
    assert "SIGKILL" in page
    assert "prefect deployment run pipeline/demo" in page

    deployed.run_module("prefect", "flow-run", "retry", run)
    deployed.wait_for(lambda: Store(deployed.home).headers("checkpoint"), 600)
    deployed.wait_for(
        lambda: any(step.parent != sft for step in saved.glob("checkpoint-*/checkpoint-*")), 600
    )
    assert len(Store(deployed.home).headers("checkpoint")) == 1  # it is training rank_grpo
    kill_with_children(worker)
    assert deployed.wait_for_run(run, 300) == "CRASHED"  # by missing heartbeats

    deployed.start_worker()
    deployed.run_module("prefect", "flow-run", "retry", run)
    assert deployed.wait_for_run(run, 600) == "COMPLETED", deployed.logs()
    store = Store(deployed.home)
    resumed = {
        h.ref.stage: h.figures.get("resumed_from_step", 0) for h in store.headers("checkpoint")
    }
    assert set(resumed) == {"sft", "rank_grpo"}
    assert min(resumed.values()) > 0
    assert weights(store) == weights(run_undisturbed(tmp_path / "other", tiny))


def kill_with_children(worker: subprocess.Popen[bytes]) -> None:
    """Kill a worker and all its descendants."""
    processes = [*psutil.Process(worker.pid).children(recursive=True), psutil.Process(worker.pid)]
    for process in processes:
        process.send_signal(signal.SIGKILL)
    worker.wait(30)


@pytest.mark.slow
def test_two_deployments_share_a_warehouse(deployed: Deployment, tiny: Tiny) -> None:
    deployed.start_worker()
    first = deployed.schedule_run("pipeline/demo", overrides=tiny, until="sft")
    second = deployed.schedule_run("build-sft-data/reddit-v2", profile="demo", overrides=tiny)
    assert deployed.wait_for_run(first) == deployed.wait_for_run(second) == "COMPLETED", (
        deployed.logs()
    )
    one, other = deployed.run_record(first), deployed.run_record(second)
    ids = {e["kind"]: e["artifact_id"] for e in one["stages"] if e["artifact_id"]}
    shared_kinds = {e["kind"]: e["artifact_id"] for e in other["stages"]}
    assert "demonstrations" in shared_kinds
    assert shared_kinds.items() <= ids.items()
    sent = one["llm"]["sent"] + other["llm"]["sent"]
    assert sent == one["llm"]["requests"] == other["llm"]["requests"]  # none sent twice
