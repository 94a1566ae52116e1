"""A whole run, and everything that it starts, connects to this machine only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from convrec.config import ROOT
from convrec.utils.telemetry import SWITCHES
from tests.support.connections import Connections
from tests.support.killed_runs import TINY, set_options

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def environment(folder: Path) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "HF_", "CONVREC_")) and name not in SWITCHES
    }
    return inherited | {
        "HOME": str(folder),
        "CONVREC_HOME": str(folder / "home"),
        "PREFECT_HOME": str(folder / "prefect"),
        "OMP_NUM_THREADS": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",  # a busy machine
    }


@pytest.mark.parametrize("launcher", ["process", "accelerate"])
def test_a_whole_run_connects_to_loopback_only(tmp_path: Path, launcher: str) -> None:
    watch = Connections(tmp_path / "watch")
    command = [*watch.strace, sys.executable, "-m", "flows", "run", "demo"]
    command += set_options(TINY | {"train.launcher": launcher})
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(tmp_path) | watch.environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert watch.processes >= (3 if launcher == "process" else 7)
    assert watch.elsewhere() == []


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('198.51.100.1', 9), 0.1)",
        "import socket; socket.getaddrinfo('telemetry.example.com', 443)",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', "
        "'import urllib.request as u; u.urlopen(\"http://198.51.100.1:9\", timeout=0.1)'])",
    ],
)
def test_a_connection_elsewhere_is_noticed(tmp_path: Path, code: str) -> None:
    watch = Connections(tmp_path / "watch")
    subprocess.run(
        [*watch.strace, sys.executable, "-c", code],
        env=environment(tmp_path) | watch.environment,
        capture_output=True,
    )
    assert watch.elsewhere()
