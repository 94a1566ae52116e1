"""One of the processes that `convrec.training.launch` has started.

    accelerate launch -m convrec.training.worker FOLDER MODULE:FUNCTION

reads what is given from FOLDER, calls the function, and writes its figures and curves there (the
first process), or what went wrong (the first that fails).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

from convrec.errors import ConvrecError
from convrec.training.job import Fit, TrainingJob
from convrec.utils.distributed import LAUNCHED, is_first, process_count, wait_for_all
from convrec.utils.locks import file_lock, try_file_lock
from convrec.utils.progress import silent

ALIVE, WORKING = "alive", "workers.lock"
FIGURES, CURVES, ERROR = "figures.json", "curves.parquet", "error.json"
SAID = "@convrec "
"""How a line of progress begins."""


def main(job_folder: Path, function: str) -> None:
    """Train, and leave figures or an error in the folder."""
    os.environ[LAUNCHED] = "1"
    given = TrainingJob.read(job_folder)
    assert given.working_folder is not None
    with file_lock(given.working_folder / WORKING, shared=True):
        threading.Thread(target=_end_with_launcher, args=[job_folder / ALIVE], daemon=True).start()
        try:
            _train(job_folder, given, _named(function))
        except ConvrecError as error:
            _tell(job_folder, type(error).__name__, str(error))
            sys.exit(1)
        except Exception as error:
            lines = str(error).strip().splitlines()
            _tell(job_folder, "", f"{type(error).__name__}: {lines[0] if lines else 'no message'}")
            raise


def _train(job_folder: Path, given: TrainingJob, fit: Fit) -> None:
    figures, curves = fit(given, _say if is_first() else silent)
    if is_first():
        curves.write_parquet(job_folder / CURVES)
        counted = {**figures, "processes": process_count()}
        (job_folder / FIGURES).write_text(json.dumps(counted), encoding="utf-8")
    wait_for_all()
    if process_count() > 1:
        import torch

        torch.distributed.destroy_process_group()


def _named(function: str) -> Fit:
    module, _, name = function.partition(":")
    fit: Fit = getattr(import_module(module), name)
    return fit


def _say(done: int, total: int, text: str) -> None:
    print(SAID + json.dumps([done, total, text]), flush=True)


def _tell(job_folder: Path, kind: str, message: str) -> None:
    """Leave the first failure of all processes; those that follow from it are not kept."""
    part = job_folder / f"{ERROR}.{os.getpid()}"
    part.write_text(json.dumps({"kind": kind, "message": message}), encoding="utf-8")
    try:
        os.link(part, job_folder / ERROR)
    except FileExistsError:
        part.unlink()


def _end_with_launcher(alive: Path) -> None:
    """End this process as soon as its launcher has: the lock of a process dies with it."""
    while True:
        try:
            with try_file_lock(alive, shared=True, create=False) as is_free:
                if is_free:
                    os._exit(1)
        except FileNotFoundError:
            os._exit(1)
        time.sleep(0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
