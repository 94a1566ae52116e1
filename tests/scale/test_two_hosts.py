"""A worker on one host; Prefect's server, Postgres and S3 on the other; and no folder of both.

Two hosts are two homes here. The worker runs in a mount namespace in which the other's is empty, so
that whatever it got, it got by a socket.
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
from tests.deployed.conftest import Deployed, deployed, tiny
from tests.flows.conftest import ids
from tests.scale.conftest import Timed
from tests.support.servers import Postgres, s3

__all__ = ["deployed", "tiny"]
pytestmark = pytest.mark.scale

HIDDEN = 'mount -t tmpfs none "$0" && exec "$@"'


def may_hide() -> bool:
    """Whether a process here may have folders of its own."""
    unshare = shutil.which("unshare")
    return (
        bool(unshare)
        and not subprocess.run(
            ["unshare", "--mount", "true"], capture_output=True, check=False
        ).returncode
    )


def convrec(home: Path, environment: dict[str, str], *words: str) -> dict[str, Any]:
    """A run from a command line with a home, and a Prefect server, of its own; its summary."""
    home.mkdir(parents=True)
    own = {"CONVREC_HOME": str(home / "home"), "PREFECT_HOME": str(home / "prefect")}
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("PREFECT_", "CONVREC_"))}
    ended = subprocess.run(
        [sys.executable, "-m", "flows.cli", *words, "--json", str(home / "summary.json")],
        cwd=ROOT,
        env={**clean, **environment, **own, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads((home / "summary.json").read_text())
    return found


@pytest.mark.skipif(not may_hide(), reason="needs the right to make a mount namespace")
def test_a_worker_needs_nothing_of_the_other_host_but_its_ports(
    deployed: Deployed,
    tiny: dict[str, Any],
    postgres_server: Postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    timed: Timed,
) -> None:
    here = tmp_path / "worker"
    with s3("hosts") as bucket:
        lake = {
            **bucket,
            "CONVREC_WAREHOUSE": f"ducklake:postgres:{postgres_server.create_database('hosts')}",
            "CONVREC_LAKE_DATA": "s3://hosts/team",
        }
        there = deployed.environment["PREFECT_HOME"]
        deployed.environment |= {
            **lake,
            "CONVREC_HOME": str(here / "home"),
            "PREFECT_HOME": str(here / "prefect"),
        }
        deployed.work(before=["unshare", "--mount", "sh", "-c", HIDDEN, there])
        with timed("the pipeline on two hosts, its worker's start with it"):
            run = deployed.due("pipeline/demo", overrides=tiny)
            assert deployed.finish(run, 900) == "COMPLETED", deployed.logs()
        made = json.loads((here / "home" / "runs" / f"{run}.json").read_text())

        words = ["run", "demo"]
        for key, value in tiny.items():
            words += ["--set", f"{key}={json.dumps(value)}"]
        with timed("all of it found by a third"):
            again = convrec(tmp_path / "third", lake, *words)
        assert {e["state"] for e in again["stages"]} <= {"cached", "skipped"}
        assert ids(again) == ids(made)
        with timed("the pipeline in one process, on a file"):
            alone = convrec(tmp_path / "alone", {}, *words)
        assert ids(alone) == ids(made)

        for name, value in lake.items():
            monkeypatch.setenv(name, value)
        lakes = Store(tmp_path / "third" / "home")
        monkeypatch.delenv("CONVREC_WAREHOUSE")
        files = Store(tmp_path / "alone" / "home")
        for name in filter(None, ids(made)):
            if name.startswith("report-"):  # it tells when and how long
                continue
            assert lakes.read(name).equals(files.read(name)), name
