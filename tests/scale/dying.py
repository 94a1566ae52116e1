"""Partitions of candidates on a worker that dies once in the middle of one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import polars as pl

from convrec.artifacts import Store
from convrec.stages.base import StepContext
from convrec.stages.partitions import CHUNK, Shared
from convrec.stages.remap import candidates

DYING = 2 * CHUNK

_made = candidates._part


def dies_once(ctx: StepContext, shared: Shared, start: int, stop: int) -> Iterator[pl.DataFrame]:
    """As the real ones; who first makes the contexts from DYING on is killed after a chunk."""
    log = ctx.store.home / f"tries-{start}"
    with log.open("a") as tries:
        tries.write("x")
    for number, frame in enumerate(_made(ctx, shared, start, stop)):
        if start == DYING and number == 1 and log.read_text() == "x":
            os.kill(os.getpid(), signal.SIGKILL)
        yield frame


def tries(store: Store) -> dict[int, int]:
    """How often the partition that starts at a context was begun."""
    return {
        int(log.name.removeprefix("tries-")): len(log.read_text())
        for log in store.home.glob("tries-*")
    }
