"""A clone of the repository as a new user has it, in an empty HOME, with the packages installed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tomllib
from functools import reduce
from pathlib import Path

from convrec.config import ROOT
from tests.support.killed_runs import TINY

_SHIM = '#!/bin/sh\nexec "{python}" -m {module} "$@"\n'


def code_blocks(page: str, *headings: str) -> list[str]:
    """The commands in the fenced blocks under some headings of a page, without comments."""
    text = (ROOT / page).read_text(encoding="utf-8")
    commands = []
    for heading in headings:
        section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        for block in re.findall(r"^```\n(.*?)^```", section, flags=re.M | re.S):
            lines = (line.split("  # ")[0].strip() for line in block.splitlines())
            commands += [line for line in lines if line]
    return commands


class BareClone:
    """Runs commands as they are typed in a terminal, in a clone; `make install` has been run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder / "convrec", folder / "home"
        self.home.mkdir(parents=True)
        command = ["git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", str(self.folder)]
        subprocess.run(command, check=True)
        self._install()
        self._started: list[subprocess.Popen[bytes]] = []

    def shrink_demo(self) -> None:
        """Make the profile `demo` a run of seconds, so that the commands stay as they are."""
        file = self.folder / "profiles" / "demo.toml"
        profile = tomllib.loads(file.read_text(encoding="utf-8"))
        for key, value in TINY.items():
            *sections, name = key.split(".")
            reduce(dict.__getitem__, sections, profile)[name] = value
        tables = {name: value for name, value in profile.items() if isinstance(value, dict)}
        lines = [f"{n} = {json.dumps(v)}" for n, v in profile.items() if n not in tables]
        for table, values in tables.items():
            lines.append(f"[{table}]")
            for name, value in values.items():
                inner = value.items() if isinstance(value, dict) else ()
                lines += [f"{name}.{key} = {json.dumps(one)}" for key, one in inner]
                lines += [] if inner else [f"{name} = {json.dumps(value)}"]
        file.write_text("\n".join(lines), encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a new terminal with the virtual environment activated."""
        path = f"{self.folder / '.venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        return {"HOME": str(self.home), "PATH": path, "LANG": "C.UTF-8", "TERM": "xterm"}

    def run(self, command: str, seconds: float) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def start(self, command: str) -> Path:
        """Start a command in a terminal of its own; returns the file of its output."""
        log = self.folder.parent / f"terminal-{len(self._started)}.log"
        with log.open("wb") as output:
            self._started.append(
                subprocess.Popen(
                    ["bash", "-c", command],
                    cwd=self.folder,
                    env=self.environment,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )
        return log

    def close(self) -> None:
        """End everything that was started, the last first."""
        for process in reversed(self._started):
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                    process.wait(30)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue

    def _install(self) -> None:
        """What `make install` leaves, but with the packages of this environment."""
        environment = self.folder / ".venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
        python = environment / "bin" / "python"
        query = [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
        packages = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
        paths = f"{self.folder}\n{sysconfig.get_paths()['purelib']}\n"
        (Path(packages) / "installed.pth").write_text(paths)
        for name, module in {"convrec": "flows", "prefect": "prefect"}.items():
            script = environment / "bin" / name
            script.write_text(_SHIM.format(python=python, module=module))
            script.chmod(0o755)
        (environment / ".installed").touch()
