"""Starting a training: in this process, or by `accelerate launch` in several (`train.launcher`).

What is launched is the same function on the same rows. A folder in the training's workspace takes
them over and the figures back; progress comes line by line, metrics.jsonl and what is saved are in
the workspace itself. The processes end when this one does, however it ends: each looks whether the
file `alive` is still locked.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import polars as pl

import convrec
from convrec.errors import TrainingError
from convrec.training.job import Fit, Trained, TrainingJob
from convrec.training.launch_errors import failure, port_was_taken
from convrec.training.launch_settings import Parallel, ready
from convrec.training.worker import ALIVE, CURVES, ERROR, FIGURES, SAID, WORKING
from convrec.utils.locks import file_lock, try_file_lock
from convrec.utils.progress import Progress
from convrec.utils.workspace import workspace

LOG = "launch.log"
"""What the processes of the last launch wrote, in the workspace."""

LAUNCHES = 3
"""accelerate looks for a free port seconds before it listens there; another may have it by then."""

PATIENCE = 60.0
"""Seconds that processes of an earlier run have to end; those of this one have a sixth of it."""


def trained(fit: Fit, given: TrainingJob, progress: Progress) -> Trained:
    """`fit(given, progress)`, where `train.launcher` has it done.

    Raises ConfigError or TrainingError with one sentence, whatever became of the processes.
    """
    if given.config.train.launcher == "process":
        return fit(given, progress)
    how = ready(given.config, given.stage)
    with workspace(given.working_folder) as folder, _job(folder) as job_folder:
        _wait_for_others(folder)
        replace(given, working_folder=folder).write(job_folder)
        (job_folder / "accelerate.json").write_text(json.dumps(how.settings), encoding="utf-8")
        log = folder / LOG
        for _ in range(LAUNCHES):
            (job_folder / ERROR).unlink(missing_ok=True)
            status = _run(command(job_folder, fit), environment(how), log, progress)
            if not status or not port_was_taken(log):
                break
        if status or not (job_folder / FIGURES).is_file():
            raise failure(status, job_folder, log, given)
        figures = json.loads((job_folder / FIGURES).read_text(encoding="utf-8"))
        if figures["processes"] != how.processes:
            raise TrainingError(
                f"accelerate started {figures['processes']} of {how.processes} processes; look at "
                f"train.parallel={given.config.train.parallel}"
            )
        return figures, pl.read_parquet(job_folder / CURVES)


def command(job_folder: Path, fit: Fit) -> list[str]:
    """The command line that trains what lies in `job_folder`."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch"]
    options = [
        "--config_file",
        str(job_folder / "accelerate.json"),
        "-m",
        "convrec.training.worker",
    ]
    return [*launcher, *options, str(job_folder), f"{fit.__module__}:{fit.__qualname__}"]


def environment(how: Parallel) -> dict[str, str]:
    """This process's environment, with convrec importable and its cores shared out."""
    inherited = {name: value for name, value in os.environ.items() if name not in _TORCHRUN}
    paths = [str(Path(convrec.__file__).parents[1]), inherited.get("PYTHONPATH", "")]
    threads = max(1, (os.cpu_count() or 1) // how.processes)
    return {
        "OMP_NUM_THREADS": str(threads),
        **inherited,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        **({"ACCELERATE_USE_CPU": "true"} if how.settings.get("use_cpu") else {}),
    }


_TORCHRUN = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def _run(command: list[str], env: dict[str, str], log: Path, progress: Progress) -> int:
    """Run to the end; the exit status. The processes are ended where this one is interrupted."""
    with log.open("w", encoding="utf-8") as written:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            _follow(process.stdout, written, progress)
            return process.wait()
        except BaseException:
            _end(process)
            raise


def _follow(lines: IO[str], log: IO[str], progress: Progress) -> None:
    for line in lines:
        if line.startswith(SAID):
            progress(*json.loads(line.removeprefix(SAID)))
        else:
            log.write(line)
            log.flush()


def _end(process: subprocess.Popen[str]) -> None:
    """Ask the launcher to end, which passes it on; the rest by force."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE / 6)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def _job(folder: Path) -> Iterator[Path]:
    """A folder for one launch, and in it the file that is locked as long as this process lives."""
    for left in folder.glob("launch-*/"):
        shutil.rmtree(left, ignore_errors=True)
    job_folder = Path(tempfile.mkdtemp(prefix="launch-", dir=folder))
    with file_lock(job_folder / ALIVE):
        try:
            yield job_folder
        finally:
            shutil.rmtree(job_folder, ignore_errors=True)


def _wait_for_others(folder: Path) -> None:
    """Wait until the processes of a run that was killed have noticed it and are gone."""
    until = time.monotonic() + PATIENCE
    while True:
        with try_file_lock(folder / WORKING) as is_free:
            if is_free:
                return
        if time.monotonic() > until:
            raise TrainingError(
                f"processes of an earlier run still train in {folder}; end them, and run again"
            )
        time.sleep(0.1)
