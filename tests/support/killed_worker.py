"""Partitions of candidates on a worker that is killed once in the middle of one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import polars as pl

from convrec.artifacts import Store
from convrec.stages.base import StepContext
from convrec.stages.partitions import CHUNK, SharedTables
from convrec.stages.remap import candidates

KILLED_PARTITION = 2 * CHUNK

_build_partition = candidates._build_partition


def die_once(
    ctx: StepContext, shared: SharedTables, start: int, stop: int
) -> Iterator[pl.DataFrame]:
    """Build a partition; the first attempt at KILLED_PARTITION is killed after a chunk."""
    attempts = ctx.store.home / f"attempts-{start}"
    with attempts.open("a") as file:
        file.write("x")
    for number, frame in enumerate(_build_partition(ctx, shared, start, stop)):
        if start == KILLED_PARTITION and number == 1 and attempts.read_text() == "x":
            os.kill(os.getpid(), signal.SIGKILL)
        yield frame


def count_attempts(store: Store) -> dict[int, int]:
    """Attempts at each partition, by the context that it starts at."""
    return {
        int(file.name.removeprefix("attempts-")): len(file.read_text())
        for file in store.home.glob("attempts-*")
    }
