"""A file system of a few megabytes, and the error message of a command that ran on it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RunConvrec = Callable[..., subprocess.CompletedProcess[str]]
"""The fixture `convrec`: takes arguments, `home`, and environment variables."""


class SmallDisk:
    """A file system in memory, mounted at `path`."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        path.mkdir()
        self._run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path))

    def remount(self, options: str) -> None:
        """Change the size, or make it read-only."""
        self._run("mount", "-o", f"remount,{options}", str(self.path))

    def fill(self) -> Path:
        """Fill the disk; return the file that takes the space."""
        filling = self.path / "filling"
        with filling.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                return filling

    def close(self) -> None:
        """Unmount it, even if a process has open files on it."""
        self._run("umount", "-l", str(self.path))

    def _run(self, *command: str) -> None:
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            pytest.skip(f"{' '.join(command[:2])} is not allowed here: {result.stderr.strip()}")


def error_message(result: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The one-line error of a failed command; only the command to resume may follow it."""
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr, result.stderr
    error, *rest = [line for line in result.stderr.splitlines() if line.strip()]
    assert error.startswith("convrec: "), result.stderr
    assert all(line.startswith("To go on from here: ") for line in rest), result.stderr
    return error
