"""A Prefect server and a worker for a test, started like `make ui`, `deploy` and `worker`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from convrec.config import ROOT
from tests.support.servers import free_port
from tests.support.tiny_demo import TINY_DEMO

TIMEOUT = 1800.0
"""Seconds that a demo run may take on a busy machine."""

FINAL_STATES = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Deployment:
    """A server and a worker with their own folders, each in a process group."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")
        } | {
            "CONVREC_HOME": str(self.home),
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "OMP_NUM_THREADS": "1",
        }
        self.groups: list[subprocess.Popen[bytes]] = []

    def start(
        self, name: str, *arguments: str, before: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Start a Python module in a new process group; its output goes to NAME.log.

        `before` is a command that starts the interpreter.
        """
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*before, sys.executable, "-m", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.groups.append(process)
        return process

    def start_server(self) -> None:
        """Start the server and apply all deployments."""
        server = self.start("server", "flows", "ui", "--port", str(self.port))
        self.wait_for(lambda: server.poll() is not None or self._healthy(), 600)
        self.run_module("flows.deploy")

    def start_worker(self, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start a worker."""
        return self.start("worker", "flows.deploy", "worker", before=before)

    def run_module(self, *arguments: str) -> str:
        """Run a Python module; return its output. Fails if it fails."""
        result = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Call the server's REST API."""
        request = urllib.request.Request(
            f"{self.url}/api{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read()
        return json.loads(text) if text else None

    def schedule_run(self, deployment: str, **parameters: Any) -> str:
        """Schedule a run of a deployment now; return the id of its flow run."""
        path = f"/deployments/{self._deployment(deployment)['id']}/create_flow_run"
        request = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(UUID(self.api("POST", path, request)["id"]))

    def set_parameters(self, deployment: str, **parameters: Any) -> None:
        """Change the default parameters of a deployment, as a user does in the UI."""
        before = self._deployment(deployment)
        changed = {"parameters": {**before["parameters"], **parameters}}
        self.api("PATCH", f"/deployments/{before['id']}", changed)

    def state(self, run: str) -> str:
        """The type of a flow run's state."""
        return str((self.api("GET", f"/flow_runs/{run}")["state"] or {}).get("type"))

    def wait_for_run(self, run: str, seconds: float = TIMEOUT) -> str:
        """Wait until a flow run has ended; return its final state."""
        self.wait_for(lambda: self.state(run) in FINAL_STATES, seconds)
        return self.state(run)

    def flow_runs(self, deployment: str) -> list[dict[str, Any]]:
        """The flow runs of a deployment, oldest first."""
        ids = {"any_": [self._deployment(deployment)["id"]]}
        query = {"deployments": {"id": ids}, "sort": "START_TIME_ASC"}
        runs: list[dict[str, Any]] = self.api("POST", "/flow_runs/filter", query)
        return runs

    def artifacts(self, run: str) -> list[dict[str, Any]]:
        """The artifacts of a flow run in the UI, oldest first, without progress bars."""
        query = {"artifacts": {"flow_run_id": {"any_": [run]}}, "sort": "CREATED_DESC"}
        newest_first: list[dict[str, Any]] = self.api("POST", "/artifacts/filter", query)
        return [a for a in reversed(newest_first) if a["type"] != "progress"]

    def artifact_data(self, run: str, key: str) -> str:
        """The text of the only artifact of a flow run with a key."""
        (artifact,) = [a for a in self.artifacts(run) if a["key"] == key]
        return str(artifact["data"])

    def run_record(self, run: str) -> dict[str, Any]:
        """The summary of a run in the warehouse folder."""
        text = (self.home / "runs" / f"{run}.json").read_text(encoding="utf-8")
        record: dict[str, Any] = json.loads(text)
        return record

    def wait_for(self, done: Callable[[], object], seconds: float) -> None:
        """Wait until `done()` is true; fails with the logs after `seconds`."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.2)

    def logs(self) -> str:
        """The last lines of every log."""
        return "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-30:])
            for path in sorted(self.folder.glob("*.log"))
        )

    def stop(self) -> None:
        """End all process groups, the last started first."""
        for process in reversed(self.groups):
            signal_group(process, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                signal_group(process, signal.SIGKILL)
                process.wait(30)

    def _deployment(self, name: str) -> dict[str, Any]:
        deployment: dict[str, Any] = self.api("GET", f"/deployments/name/{name}")
        return deployment

    def _healthy(self) -> bool:
        try:
            return bool(self.api("GET", "/health"))
        except OSError:
            return False


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to all processes of a group."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployment]:
    """A server with all deployments; the test starts the worker."""
    deployment = Deployment(tmp_path)
    try:
        deployment.start_server()
        yield deployment
    finally:
        deployment.stop()


@pytest.fixture
def tiny() -> dict[str, Any]:
    """Overrides with which the demo trains in seconds and saves often."""
    return {
        **TINY_DEMO,
        "sft.epochs": 8,
        "rank_grpo.steps": 24,
        "rank_grpo.prompts_per_step": 2,
        "rank_grpo.group_size": 2,
        "rank_grpo.learning_rate": 1e-2,
        "rank_grpo.sampler": "constrained",  # 24 steps need a reward
        "rank_grpo.save_every": 4,
        "rank_grpo.eval_every": 8,
        "evaluate.bootstrap": 20,
    }
