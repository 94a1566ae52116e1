"""Partitions on a Dask cluster: one Prefect task each, on a cluster that is there or is started.

A worker that dies takes its partition along; Dask gives that one to another worker. Workers need
convrec, the warehouse and the folder of the partitions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.runtime import task_run

from convrec.artifacts import ArtifactRef, Store
from convrec.config import Config
from convrec.errors import ConfigError
from convrec.stages.base import StepContext

if TYPE_CHECKING:
    from convrec.stages.partitions import ContextPartition


class Errand:
    """What a worker needs to make a partition. A plain class, so that Prefect does not walk it."""

    def __init__(self, ctx: StepContext, piece: ContextPartition) -> None:
        self.config: Config = ctx.config
        self.parents: Mapping[str, ArtifactRef] = dict(ctx.parents)
        self.home: Path = ctx.store.home
        self.piece = piece


def _name() -> str:
    piece = task_run.parameters["errand"].piece
    return f"contexts {piece.start:,} to {piece.stop:,}"


@task(
    name="partition",
    task_run_name=_name,
    description="Makes one partition of an artifact.",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def partition(errand: Errand) -> int:
    """Make a partition, unless its file is there; the number of its contexts."""
    errand.piece.make(StepContext(errand.config, Store(errand.home), errand.parents))
    return errand.piece.stop - errand.piece.start


def on_dask(ctx: StepContext, pieces: Sequence[ContextPartition]) -> None:
    """Have a cluster make the partitions that are not there. Raises ConfigError without Dask."""
    waiting = [piece for piece in pieces if not piece.file.exists()]
    done, total = pieces[-1].stop - sum(p.stop - p.start for p in waiting), pieces[-1].stop
    if not waiting:
        return
    with _cluster(ctx.config) as runner:
        futures = [runner.submit(partition, {"errand": Errand(ctx, one)}) for one in waiting]
        for future in as_completed(futures):
            done += future.result()
            ctx.progress(done, total, "contexts")


def _cluster(config: Config) -> Any:
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError:
        raise ConfigError(
            "runner.kind=dask needs the extra `dask`, which is not installed; install it with "
            "`.venv/bin/pip install -c constraints.txt -e '.[dask]'`, or set runner.kind=process"
        ) from None
    if config.runner.address:
        return DaskTaskRunner(address=config.runner.address)
    workers = config.runner.workers or os.cpu_count()
    started = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    return DaskTaskRunner(cluster_class="distributed.LocalCluster", cluster_kwargs=started)
