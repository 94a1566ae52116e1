"""Start this machine's processes of the trainings that `convrec run` launches on another machine.

    python -m convrec.training.join HOME RANK

waits for launches in the warehouse HOME, a folder that all machines share under the same path, and
joins each as machine RANK (from 1) of accelerate's configuration file, until it is interrupted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from convrec.errors import ConvrecError, InputError, TrainingError
from convrec.training.launch import (
    ACCELERATE,
    FUNCTION,
    launch_command,
    launch_environment,
    run_command,
)
from convrec.training.launch_settings import LaunchSettings
from convrec.training.worker import ALIVE
from convrec.utils.locks import try_file_lock
from convrec.utils.progress import Progress, no_progress

INTERVAL = 1.0
"""Seconds between two searches for a launch."""


def join_launches(
    home: Path, rank: int, *, count: int = 0, progress: Progress = no_progress
) -> None:
    """Join `count` launches one after another, without a limit if 0.

    Raises InputError if HOME is no folder or the rank is not that of another machine; TrainingError
    if a launch fails on this machine.
    """
    if not home.is_dir():
        raise InputError(f"{home} is not a folder; give the CONVREC_HOME that the machines share")
    if rank < 1:
        raise InputError(f"RANK={rank} is the machine that runs convrec; others count from 1")
    joined = 0
    while not count or joined < count:
        launch_folder = _claim_launch(home, rank)
        if launch_folder is None:
            time.sleep(INTERVAL)
            continue
        joined += 1
        _join(launch_folder, rank, progress)


def _claim_launch(home: Path, rank: int) -> Path | None:
    """The folder of a launch that runs and that no process has joined as this machine."""
    for file in sorted(home.glob(f"training/*/launch-*/{FUNCTION}")):
        folder = file.parent
        accelerate = json.loads((folder / ACCELERATE).read_text(encoding="utf-8"))
        with try_file_lock(folder / ALIVE, shared=True, create=False) as is_free:
            if is_free or rank >= accelerate["num_machines"]:
                continue
        with suppress(FileExistsError):
            os.close(os.open(folder / f"machine-{rank}", os.O_CREAT | os.O_EXCL))
            return folder
    return None


def _join(launch_folder: Path, rank: int, progress: Progress) -> None:
    values = json.loads((launch_folder / ACCELERATE).read_text(encoding="utf-8"))
    values["machine_rank"] = rank
    file = launch_folder / f"accelerate-{rank}.json"
    file.write_text(json.dumps(values), encoding="utf-8")
    sharded = values["distributed_type"] in ("FSDP", "DEEPSPEED")
    settings = LaunchSettings(values, values["num_processes"], sharded)
    function = (launch_folder / FUNCTION).read_text(encoding="utf-8")
    command = launch_command(file, launch_folder, function)
    log = launch_folder.parent / f"launch-{rank}.log"
    if status := run_command(command, launch_environment(settings), log, progress):
        raise TrainingError(
            f"machine {rank} ended with exit status {status}; see {log}, and the message of "
            "convrec on the first machine"
        )


if __name__ == "__main__":
    try:
        join_launches(Path(sys.argv[1]), int(sys.argv[2]))
    except (IndexError, ValueError):
        sys.exit("usage: python -m convrec.training.join HOME RANK")
    except ConvrecError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
