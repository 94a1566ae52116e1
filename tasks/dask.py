"""Partitions on a Dask cluster, one Prefect task each; the cluster is an existing or a new one.

If a worker dies, Dask gives its partition to another worker. Workers need convrec, the warehouse
and the folder of the partitions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.runtime import task_run

from convrec.artifacts import ArtifactRef, Store
from convrec.config import Config
from convrec.errors import ConfigError
from convrec.stages.base import StepContext
from convrec.stages.partitions import ContextPartition


class PartitionInput:
    """What a worker needs to build a partition.

    A plain class, because Prefect copies and inspects dataclasses among a task's parameters.
    """

    def __init__(self, ctx: StepContext, partition: ContextPartition) -> None:
        self.config: Config = ctx.config
        self.parents: Mapping[str, ArtifactRef] = dict(ctx.parents)
        self.home: Path = ctx.store.home
        self.partition = partition


def _name() -> str:
    part = task_run.parameters["partition_input"].partition
    return f"contexts {part.start:,} to {part.stop:,}"


@task(
    name="partition",
    task_run_name=_name,
    description="Makes one partition of an artifact.",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def build_partition(partition_input: PartitionInput) -> int:
    """Build a partition, unless its file exists; returns the number of its contexts."""
    partition = partition_input.partition
    store = Store(partition_input.home)
    partition.make(StepContext(partition_input.config, store, partition_input.parents))
    return partition.stop - partition.start


def on_dask(ctx: StepContext, partitions: Sequence[ContextPartition]) -> None:
    """Have a cluster build the missing partitions. Raises ConfigError without Dask."""
    missing = [one for one in partitions if not one.file.exists()]
    total = partitions[-1].stop
    done = total - sum(one.stop - one.start for one in missing)
    if not missing:
        return
    with _cluster(ctx.config) as runner:
        futures = [
            runner.submit(build_partition, {"partition_input": PartitionInput(ctx, one)})
            for one in missing
        ]
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
