"""Fixtures: a disk of a few megabytes, and the command line in a new process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convrec.config import ROOT
from tests.support.small_disk import RunConvrec, SmallDisk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], SmallDisk]]:
    """Creates a small disk."""
    if os.geteuid() or sys.platform != "linux":
        pytest.skip("only root may mount a small disk, and only Linux has tmpfs")
    disks: list[SmallDisk] = []

    def make(size: str) -> SmallDisk:
        disks.append(SmallDisk(tmp_path / f"disk-{len(disks)}", size))
        return disks[-1]

    yield make
    for small_disk in disks:
        small_disk.close()


@pytest.fixture
def convrec(tmp_path: Path) -> RunConvrec:
    """Runs `convrec` in a new process with a home."""

    def run(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {n: v for n, v in os.environ.items() if not n.startswith("PREFECT_")}
        homes = {
            "CONVREC_HOME": str(home),
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",  # a busy machine
        }
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments],
            cwd=ROOT,
            env=inherited | homes | {"OMP_NUM_THREADS": "1"} | environment,
            capture_output=True,
            text=True,
            timeout=800,
        )

    return run
