"""Working folders: what a run needs to resume building an artifact after a crash.

The name of a folder follows from the artifact's id, so the next run that builds the same artifact
finds it. One process at a time uses it; another one gets a temporary folder. Processes that were
launched together share the folder, and their launcher holds its lock.
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
    """`folder`, created if missing and locked for the length of the block.

    Yields a temporary folder instead if `folder` is None or another process has the lock.
    """
    with contextlib.ExitStack() as stack:
        if folder is not None and has_launcher():
            yield folder
            return
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            if stack.enter_context(try_lock_workspace(folder)):
                yield folder
                return
        # Next to `folder`, `convrec artifacts gc` finds what a killed training leaves behind.
        parent = folder.parent if folder else None
        temporary = tempfile.TemporaryDirectory(prefix="convrec-training-", dir=parent)
        yield Path(stack.enter_context(temporary))


def remove_workspace(folder: Path) -> None:
    """Delete a working folder, unless another process uses it."""
    if folder.is_dir():
        with try_lock_workspace(folder) as is_free:
            if is_free:
                shutil.rmtree(folder, ignore_errors=True)


def try_lock_workspace(folder: Path) -> contextlib.AbstractContextManager[bool]:
    """Yield whether no other process uses the folder; if so, hold its lock in the block."""
    return try_file_lock(folder / _LOCK)
