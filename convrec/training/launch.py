"""Run a training in this process, or in processes started by `accelerate launch`.

A folder in the training's workspace passes the job to the processes and the result back. The
processes exit when this one does, however it ends: each checks whether `alive` is still locked.
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

import polars as pl

import convrec
from convrec.errors import TrainingError
from convrec.training.job import FitFunction, TrainingJob, TrainingResult
from convrec.training.launch_errors import launch_error, port_was_taken
from convrec.training.launch_settings import LaunchSettings, launchable_settings
from convrec.training.optimization import check_optimizer
from convrec.training.worker import (
    ALIVE,
    CURVES,
    ERROR,
    FIGURES,
    PROGRESS_PREFIX,
    WARNING_PREFIX,
    WORKERS_LOCK,
)
from convrec.utils.locks import file_lock, try_file_lock
from convrec.utils.progress import Progress
from convrec.utils.warn_once import warn_once
from convrec.utils.workspace import workspace

ACCELERATE = "accelerate.json"
"""accelerate's configuration, in the folder of a launch."""

FUNCTION = "function"
"""The function that the workers call; other machines join a launch once this file exists."""

LOG = "launch.log"
"""Output of the processes of the last launch, in the workspace."""

MAX_LAUNCHES = 3
"""accelerate selects a free port seconds before it listens on it; it may be taken by then."""

SHUTDOWN_SECONDS = 60.0
"""Time for the processes of an earlier run to exit; those of this run have a sixth of it."""

TORCHRUN_VARIABLES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def run_training(fit: FitFunction, job: TrainingJob, progress: Progress) -> TrainingResult:
    """`fit(job, progress)`, in the processes that `train.launcher` selects.

    Raises ConfigError or TrainingError, however the processes end.
    """
    if job.stage in ("sft", "rank_grpo"):
        check_optimizer(getattr(job.config, job.stage), job.stage)
    if job.config.train.launcher == "process":
        return fit(job, progress)
    settings = launchable_settings(job.config, job.stage)
    with workspace(job.working_folder) as folder, _launch_folder(folder) as launch_folder:
        _wait_for_earlier_processes(folder)
        replace(job, working_folder=folder).save(launch_folder)
        accelerate_file = launch_folder / ACCELERATE
        accelerate_file.write_text(json.dumps(settings.accelerate), encoding="utf-8")
        log = folder / LOG
        function = f"{fit.__module__}:{fit.__qualname__}"
        command = launch_command(accelerate_file, launch_folder, function)
        if settings.machines > 1:
            (launch_folder / FUNCTION).write_text(function, encoding="utf-8")
        for _ in range(MAX_LAUNCHES if settings.machines == 1 else 1):
            (launch_folder / ERROR).unlink(missing_ok=True)
            status = run_command(command, launch_environment(settings), log, progress)
            if not status or not port_was_taken(log):
                break
        if status or not (launch_folder / FIGURES).is_file():
            raise launch_error(status, launch_folder, log, job)
        figures = json.loads((launch_folder / FIGURES).read_text(encoding="utf-8"))
        if figures["processes"] != settings.processes:
            raise TrainingError(
                f"accelerate started {figures['processes']} instead of {settings.processes} "
                f"processes; check train.parallel={job.config.train.parallel}"
            )
        return figures, pl.read_parquet(launch_folder / CURVES, glob=False)


def launch_command(accelerate_file: Path, launch_folder: Path, function: str) -> list[str]:
    """The command that starts this machine's processes of a launch."""
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(accelerate_file)]
    worker = ["-m", "convrec.training.worker", str(launch_folder), function]
    return [sys.executable, *launcher, *worker]


def launch_environment(settings: LaunchSettings) -> dict[str, str]:
    """This process's environment, with convrec importable and the cores divided."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in TORCHRUN_VARIABLES
    }
    paths = [str(Path(convrec.__file__).parents[1]), inherited.get("PYTHONPATH", "")]
    threads = max(1, (os.cpu_count() or 1) * settings.machines // settings.processes)
    return {
        "OMP_NUM_THREADS": str(threads),
        **inherited,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        **({"ACCELERATE_USE_CPU": "true"} if settings.accelerate.get("use_cpu") else {}),
    }


def run_command(command: list[str], env: dict[str, str], log: Path, progress: Progress) -> int:
    """Run a command to its end; its exit status. An interruption stops its processes.

    Its output goes to `log`, its progress to `progress`, and its warnings are logged again.
    """
    with log.open("w", encoding="utf-8") as log_file:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log_file,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(PROGRESS_PREFIX):
                    progress(*json.loads(line.removeprefix(PROGRESS_PREFIX)))
                elif line.startswith(WARNING_PREFIX):
                    warn_once(json.loads(line.removeprefix(WARNING_PREFIX)))
                else:
                    log_file.write(line)
                    log_file.flush()
            return process.wait()
        except BaseException:
            _terminate(process)
            raise


def _terminate(process: subprocess.Popen[str]) -> None:
    """Terminate the launcher, which forwards it to its processes; then kill what is left."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(SHUTDOWN_SECONDS / 6)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def _launch_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder for one launch, with the file that this process holds locked."""
    for stale in folder.glob("launch-*/"):
        shutil.rmtree(stale, ignore_errors=True)
    launch_folder = Path(tempfile.mkdtemp(prefix="launch-", dir=folder))
    with file_lock(launch_folder / ALIVE):
        try:
            yield launch_folder
        finally:
            shutil.rmtree(launch_folder, ignore_errors=True)


def _wait_for_earlier_processes(folder: Path) -> None:
    """Wait until the processes of a killed run have noticed it and exited."""
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    while True:
        with try_file_lock(folder / WORKERS_LOCK) as is_free:
            if is_free:
                return
        if time.monotonic() > deadline:
            raise TrainingError(
                f"processes of an earlier run are still training in {folder}; stop them and run "
                "again"
            )
        time.sleep(0.1)
