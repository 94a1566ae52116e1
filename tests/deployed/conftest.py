"""A Prefect server and a worker of a test's own, as make ui, deploy and worker start them."""

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

from tests.support.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 1800.0
"""Seconds that a whole demo may take on a busy machine."""

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Deployed:
    """A server and a worker with folders of their own; every process is ended with its group."""

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
        """A Python module in a process group of its own; what it says is kept in NAME.log.

        `before` are words of a command that starts it.
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

    def serve(self) -> None:
        """Start the server and deploy everything."""
        where = ("--host", "127.0.0.1", "--port", str(self.port))
        server = self.start("server", "prefect", "server", "start", *where)
        self.wait_for(lambda: server.poll() is not None or self._healthy(), 600)
        self.run("flows.deploy")

    def work(self, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start a worker."""
        return self.start("worker", "flows.deploy", "worker", before=before)

    def run(self, *arguments: str) -> str:
        """Run a Python module to its end; what it printed. Fails where it fails."""
        ended = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the server's REST API."""
        request = urllib.request.Request(
            f"{self.url}/api{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def due(self, deployment: str, **parameters: Any) -> str:
        """Have a deployment run; the id of its flow run."""
        found = self.api("GET", f"/deployments/name/{deployment}")
        path = f"/deployments/{found['id']}/create_flow_run"
        run: str = self.api(
            "POST", path, {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        )["id"]
        return str(UUID(run))

    def preset(self, deployment: str, **parameters: Any) -> None:
        """Change default parameters of a deployment, as somebody does in the UI."""
        found = self.api("GET", f"/deployments/name/{deployment}")
        changed = {"parameters": {**found["parameters"], **parameters}}
        self.api("PATCH", f"/deployments/{found['id']}", changed)

    def state(self, run: str) -> str:
        """The type of a flow run's state."""
        return str((self.api("GET", f"/flow_runs/{run}")["state"] or {}).get("type"))

    def finish(self, run: str, seconds: float = PATIENCE) -> str:
        """Wait until a flow run has ended; how."""
        self.wait_for(lambda: self.state(run) in FINAL, seconds)
        return self.state(run)

    def runs_of(self, deployment: str) -> list[dict[str, Any]]:
        """The flow runs of a deployment, the oldest first."""
        found = self.api("GET", f"/deployments/name/{deployment}")
        wanted = {"deployments": {"id": {"any_": [found["id"]]}}, "sort": "START_TIME_ASC"}
        runs: list[dict[str, Any]] = self.api("POST", "/flow_runs/filter", wanted)
        return runs

    def artifacts(self, run: str) -> list[dict[str, Any]]:
        """What a flow run left in the UI, in order, without progress bars."""
        wanted = {"artifacts": {"flow_run_id": {"any_": [run]}}, "sort": "CREATED_DESC"}
        found: list[dict[str, Any]] = self.api("POST", "/artifacts/filter", wanted)
        return [artifact for artifact in reversed(found) if artifact["type"] != "progress"]

    def record(self, run: str) -> dict[str, Any]:
        """The summary of a run in the warehouse folder."""
        text = (self.home / "runs" / f"{run}.json").read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
        return found

    def wait_for(self, done: Callable[[], object], seconds: float) -> None:
        """Look until something is so; fails with the logs where it never is."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.2)

    def logs(self) -> str:
        """The last lines of every process."""
        return "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-30:])
            for path in sorted(self.folder.glob("*.log"))
        )

    def stop(self) -> None:
        """End what was started, group by group, the worker before the server."""
        for process in reversed(self.groups):
            end(process, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                end(process, signal.SIGKILL)
                process.wait(30)

    def _healthy(self) -> bool:
        try:
            return bool(self.api("GET", "/health"))
        except OSError:
            return False


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process and everything in its group."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployed]:
    """Everything deployed on a server of the test's own; no worker yet."""
    made = Deployed(tmp_path)
    try:
        made.serve()
        yield made
    finally:
        made.stop()


@pytest.fixture
def tiny() -> dict[str, Any]:
    """Overrides with which the demo trains in seconds and is saved often."""
    return {
        "ingest.contexts": {"train": 24, "validation": 4, "test": 6},
        "model.hidden": 16,
        "model.layers": 1,
        "model.vocabulary": 400,
        "model.max_completion_tokens": 120,
        "list_length": 5,
        "reflect.top": 8,
        "remap.keep": 12,
        "sft.epochs": 8,
        "rank_grpo.steps": 24,
        "rank_grpo.prompts_per_step": 2,
        "rank_grpo.group_size": 2,
        "rank_grpo.learning_rate": 1e-2,
        "rank_grpo.save_every": 4,
        "rank_grpo.eval_every": 8,
        "evaluate.bootstrap": 20,
    }
