"""Places that fail: a disk of a few megabytes, and the command line run on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Convrec = Callable[..., subprocess.CompletedProcess[str]]


class Disk:
    """A file system in memory, of a given size, mounted at `path`."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        path.mkdir()
        self._run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path))

    def remount(self, options: str) -> None:
        """Change the size, or make it read-only."""
        self._run("mount", "-o", f"remount,{options}", str(self.path))

    def fill(self) -> Path:
        """Write until it is full; the file that takes the place."""
        filling = self.path / "filling"
        with filling.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                return filling

    def close(self) -> None:
        """Take it away, also while a process still has files on it."""
        self._run("umount", "-l", str(self.path))

    def _run(self, *command: str) -> None:
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            pytest.skip(f"{' '.join(command[:2])} is not allowed here: {ended.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Disk]]:
    """Makes a small disk."""
    if os.geteuid() or sys.platform != "linux":
        pytest.skip("only root may mount a small disk, and only Linux has tmpfs")
    made: list[Disk] = []

    def make(size: str) -> Disk:
        made.append(Disk(tmp_path / f"disk-{len(made)}", size))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def convrec(tmp_path: Path) -> Convrec:
    """Runs `convrec` in a process of its own, with a home in a given folder."""

    def run(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith("PREFECT_")}
        places = {
            "CONVREC_HOME": str(home),
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",  # a busy machine
        }
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments],
            cwd=ROOT,
            env=kept | places | {"OMP_NUM_THREADS": "1"} | environment,
            capture_output=True,
            text=True,
            timeout=800,
        )

    return run


def sentence(ended: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The one sentence with which a command has ended, and nothing but how to go on after it."""
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr, ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.strip()]
    assert said[0].startswith("convrec: "), ended.stderr
    assert all(line.startswith("To go on from here: ") for line in said[1:]), ended.stderr
    return said[0]
