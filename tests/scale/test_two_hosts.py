"""A worker on one host; Prefect's server, Postgres and S3 on another, with no shared folder.

The hosts are simulated by two homes. The worker runs in a mount namespace in which the other home
is empty, so it can only use sockets.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.config import ROOT
from tests.support.deployment import Deployment, deployed, tiny
from tests.support.servers import Postgres, s3
from tests.support.summaries import artifact_ids
from tests.support.timing import Timed

__all__ = ["deployed", "tiny"]
pytestmark = pytest.mark.scale

HIDE_FOLDER = 'mount -t tmpfs none "$0" && exec "$@"'


def may_mount() -> bool:
    """Whether this process may create a mount namespace."""
    unshare = shutil.which("unshare")
    return (
        bool(unshare)
        and not subprocess.run(
            ["unshare", "--mount", "true"], capture_output=True, check=False
        ).returncode
    )


def run_convrec(home: Path, environment: dict[str, str], *words: str) -> dict[str, Any]:
    """Run the command line with a new home and Prefect server; return the summary."""
    home.mkdir(parents=True)
    homes = {"CONVREC_HOME": str(home / "home"), "PREFECT_HOME": str(home / "prefect")}
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("PREFECT_", "CONVREC_"))}
    result = subprocess.run(
        [sys.executable, "-m", "flows.cli", *words, "--json", str(home / "summary.json")],
        cwd=ROOT,
        env={**clean, **environment, **homes, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    summary: dict[str, Any] = json.loads((home / "summary.json").read_text())
    return summary


@pytest.mark.skipif(not may_mount(), reason="needs the right to make a mount namespace")
def test_a_worker_needs_only_the_ports_of_the_other_host(
    deployed: Deployment,
    tiny: dict[str, Any],
    postgres_server: Postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    timed: Timed,
) -> None:
    worker_home = tmp_path / "worker"
    with s3("hosts") as bucket:
        lake = {
            **bucket,
            "CONVREC_WAREHOUSE": f"ducklake:postgres:{postgres_server.create_database('hosts')}",
            "CONVREC_LAKE_DATA": "s3://hosts/team",
        }
        server_home = deployed.environment["PREFECT_HOME"]
        deployed.environment |= {
            **lake,
            "CONVREC_HOME": str(worker_home / "home"),
            "PREFECT_HOME": str(worker_home / "prefect"),
        }
        deployed.start_worker(before=["unshare", "--mount", "sh", "-c", HIDE_FOLDER, server_home])
        with timed("the pipeline on two hosts, with the start of the worker"):
            run = deployed.schedule_run("pipeline/demo", overrides=tiny)
            assert deployed.wait_for_run(run, 900) == "COMPLETED", deployed.logs()
        built = json.loads((worker_home / "home" / "runs" / f"{run}.json").read_text())

        words = ["run", "demo"]
        for key, value in tiny.items():
            words += ["--set", f"{key}={json.dumps(value)}"]
        with timed("a cached run on a third host"):
            again = run_convrec(tmp_path / "third", lake, *words)
        assert {e["state"] for e in again["stages"] if e["artifact_id"]} == {"cached"}
        assert artifact_ids(again) == artifact_ids(built)
        with timed("the pipeline in one process, on a file"):
            alone = run_convrec(tmp_path / "alone", {}, *words)
        assert artifact_ids(alone) == artifact_ids(built)

        for name, value in lake.items():
            monkeypatch.setenv(name, value)
        lake_store = Store(tmp_path / "third" / "home")
        monkeypatch.delenv("CONVREC_WAREHOUSE")
        file_store = Store(tmp_path / "alone" / "home")
        for name in filter(None, artifact_ids(built)):
            if name.startswith("report-"):  # it has times
                continue
            assert lake_store.read(name).equals(file_store.read(name)), name
