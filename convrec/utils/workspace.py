"""The folder in which a run keeps what it needs to go on after a crash, one an artifact.

Its name follows from the artifact's id, so the next run that makes the same artifact finds it. One
process at a time trains in it; whoever finds it taken trains in a folder of its own. Processes that
were launched together share it, and whoever launched them holds it.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from convrec.utils.distributed import has_launcher
from convrec.utils.locks import try_file_lock

_LOCK = ".lock"


@contextlib.contextmanager
def workspace(folder: Path | None) -> Iterator[Path]:
    """`folder`, made where it is missing and locked in the block; a temporary one without it."""
    with contextlib.ExitStack() as stack:
        if folder is not None and has_launcher():
            yield folder
            return
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            if stack.enter_context(try_lock_workspace(folder)):
                yield folder
                return
        # Beside the other: `convrec artifacts gc` finds there what a killed training leaves behind.
        beside = folder.parent if folder else None
        temporary = tempfile.TemporaryDirectory(prefix="convrec-training-", dir=beside)
        yield Path(stack.enter_context(temporary))


def remove_workspace(folder: Path) -> None:
    """Remove a working folder, unless another process trains in it."""
    if folder.is_dir():
        with try_lock_workspace(folder) as ours:
            if ours:
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def try_lock_workspace(folder: Path) -> Iterator[bool]:
    """Whether the folder's lock could be had; if so, it is held in the block."""
    with try_file_lock(folder / _LOCK) as is_free:
        yield is_free
