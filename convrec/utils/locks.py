"""Locks between processes on one host. The kernel releases a lock when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def file_lock(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock on `path` for the length of the block; waits until it is free.

    Creates the file if it is missing. Several processes can hold a `shared` lock at once.
    """
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def try_file_lock(path: Path, *, shared: bool = False, create: bool = True) -> Iterator[bool]:
    """Yield whether the lock on `path` is free; if so, hold it for the length of the block.

    A file that was deleted or replaced while it was opened counts as taken. With `create=False`
    a missing file raises FileNotFoundError.
    """
    with path.open("a" if create else "r") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield _is_open_file(file.fileno(), path)


def _is_open_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
