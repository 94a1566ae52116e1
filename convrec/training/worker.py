"""One of the processes that `convrec.training.launch` starts.

    accelerate launch -m convrec.training.worker FOLDER MODULE:FUNCTION

loads the job in FOLDER and calls the function with it. The first process writes the figures and
curves to FOLDER; the first process that fails writes its error there.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from convrec.errors import ConvrecError
from convrec.training.job import FitFunction, TrainingJob
from convrec.utils.distributed import LAUNCHED, barrier, is_first, process_count
from convrec.utils.error_text import type_and_first_line
from convrec.utils.locks import file_lock, try_file_lock
from convrec.utils.progress import no_progress

ALIVE = "alive"
"""File that the launching process holds locked."""

WORKERS_LOCK = "workers.lock"
"""File on which the workers of a workspace hold a shared lock."""

FIGURES, CURVES, ERROR = "figures.json", "curves.parquet", "error.json"

PROGRESS_PREFIX = "@convrec "
"""Marks a line of progress on standard output."""

WARNING_PREFIX = "@convrec-warning "
"""Marks a warning of the first process on standard output."""


def main(launch_folder: Path, function: str) -> None:
    """Run the job in the folder; write its result or error there."""
    os.environ[LAUNCHED] = "1"
    job = TrainingJob.load(launch_folder)
    assert job.working_folder is not None
    if is_first():
        logging.getLogger("convrec").addHandler(_PrintWarnings(logging.WARNING))
    with file_lock(job.working_folder / WORKERS_LOCK, shared=True):
        alive = launch_folder / ALIVE
        threading.Thread(target=_exit_with_launcher, args=[alive], daemon=True).start()
        try:
            module, _, name = function.partition(":")
            _run(launch_folder, job, getattr(import_module(module), name))
        except ConvrecError as error:
            _write_error(launch_folder, type(error).__name__, str(error))
            sys.exit(1)
        except Exception as error:
            _write_error(launch_folder, "", type_and_first_line(error))
            raise


def _run(launch_folder: Path, job: TrainingJob, fit: FitFunction) -> None:
    figures, curves = fit(job, _print_progress if is_first() else no_progress)
    if is_first():
        curves.write_parquet(launch_folder / CURVES)
        with_processes = {**figures, "processes": process_count()}
        (launch_folder / FIGURES).write_text(json.dumps(with_processes), encoding="utf-8")
    barrier()
    if process_count() > 1:
        import torch

        torch.distributed.destroy_process_group()


def _print_progress(done: int, total: int, text: str) -> None:
    print(PROGRESS_PREFIX + json.dumps([done, total, text]), flush=True)


class _PrintWarnings(logging.Handler):
    """Prints warnings for the launching process, which shows them."""

    def emit(self, record: logging.LogRecord) -> None:
        print(WARNING_PREFIX + json.dumps(record.getMessage()), flush=True)


def _write_error(launch_folder: Path, kind: str, message: str) -> None:
    """Write the error unless another process has failed first: later errors follow from it."""
    part = launch_folder / f"{ERROR}.{os.getpid()}"
    part.write_text(json.dumps({"kind": kind, "message": message}), encoding="utf-8")
    try:
        os.link(part, launch_folder / ERROR)
    except FileExistsError:
        part.unlink()


def _exit_with_launcher(alive: Path) -> None:
    """Exit once the launching process has ended, which releases its lock."""
    with suppress(FileNotFoundError):
        while True:
            with try_file_lock(alive, shared=True, create=False) as is_free:
                if is_free:
                    break
            time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
