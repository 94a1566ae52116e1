"""Partitions on a Dask cluster of this machine: the same rows, also when a worker is killed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.testing.utilities import prefect_test_harness

from convrec.artifacts import Store
from convrec.artifacts.identity import ArtifactSpec
from convrec.config import ROOT, load
from convrec.pipeline.graph import NODES
from convrec.stages.base import StepContext
from convrec.stages.partitions import CHUNK
from convrec.stages.remap import candidates
from tasks.dask import on_dask
from tests.scale import killed_worker
from tests.scale.conftest import Timed
from tests.support.servers import free_port

sys.path.append(str(ROOT / "benchmarks"))
from remap_scale import generate, teacher_lists

pytestmark = pytest.mark.scale
CONTEXTS = 5 * CHUNK - 100


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def ctx(tmp_path: Path) -> StepContext:
    """A warehouse of generated contexts, up to the teacher's lists and the basis."""
    catalog = tmp_path / "films.csv"
    catalog.write_text(
        "title,year\n" + "".join(f"Film {n} Of,{1950 + n % 70}\n" for n in range(90))
    )
    generate(tmp_path, CONTEXTS, str(catalog))
    settings = {
        "ingest.path": str(tmp_path / "train.jsonl"),
        "remap.keep": 30,
        "runner.kind": "dask",
        "runner.partitions": 3,
        "runner.workers": 2,
    }
    config, store = load("reddit-v2", settings), Store(tmp_path / "home")
    refs: dict[str, Any] = {}
    for name in ("catalog", "conversations", "teacher_lists", "similarity_basis"):
        made = StepContext(config, store, {role: refs[n] for role, n in NODES[name].reads.items()})
        if name == "teacher_lists":
            spec = ArtifactSpec("teacher_lists", "recommend", 0)
            refs[name] = store.put(spec, teacher_lists(made, tmp_path))
        else:
            refs[name] = store.put(NODES[name].step.spec(made), NODES[name].step.build(made))
    return StepContext(config, store, refs, workspace=tmp_path / "work")


HELD: dict[str, Any] = {}


@flow
def spread_out() -> None:
    HELD["built"] = candidates.CANDIDATES.build(HELD["job"])


def built_on_dask(ctx: StepContext) -> Any:
    HELD["job"] = replace(ctx, spread=on_dask)
    spread_out()
    return HELD.pop("built")


def test_a_cluster_makes_the_rows_of_one_process(ctx: StepContext, timed: Timed) -> None:
    with timed("two workers that are started"):
        built = built_on_dask(ctx)
    with timed("one process"):
        alone = candidates.CANDIDATES.build(replace(ctx, workspace=None))
    assert len(built.output.files) == 3
    assert built.rows.equals(alone.rows)
    assert built.figures == alone.figures


@contextlib.contextmanager
def cluster(workers: int, folder: Path) -> Iterator[str]:
    """A scheduler and workers as a team has them, each started by the command `dask`; its address.

    Nothing of them is in this process, and each worker has a folder of its own.
    """
    dask, address = str(Path(sys.executable).with_name("dask")), f"tcp://127.0.0.1:{free_port()}"
    scheduler = [dask, "scheduler", "--port", address.rpartition(":")[2], "--no-dashboard"]
    commands = [[*scheduler, "--host", "127.0.0.1"]]
    for number in range(workers):
        own = folder / f"worker-{number}"
        own.mkdir()
        options = ["--nthreads", "1", "--no-dashboard", "--local-directory", str(own)]
        commands.append([dask, "worker", address, *options])
    started = [subprocess.Popen(command, cwd=folder) for command in commands]
    try:
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=60)


def test_a_cluster_that_is_there_makes_the_rows_of_one_process(
    ctx: StepContext, tmp_path: Path, timed: Timed
) -> None:
    from distributed import Client

    with cluster(2, tmp_path) as address:
        runner = ctx.config.runner.model_copy(update={"address": address})
        there = replace(ctx, config=ctx.config.model_copy(update={"runner": runner}))
        with timed("two workers that are there"):
            built = built_on_dask(there)
        with Client(address) as client:
            made = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert len(made) == 2
    assert sum(made.values()) == 3  # here nothing was made
    assert len(built.output.files) == 3
    assert built.rows.equals(candidates.CANDIDATES.build(replace(ctx, workspace=None)).rows)


def test_the_partition_of_a_killed_worker_is_made_again_alone(
    ctx: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_build_partition", killed_worker.die_once)
    built = built_on_dask(ctx)
    monkeypatch.undo()
    assert killed_worker.count_attempts(ctx.store) == {0: 1, 2 * CHUNK: 2, 4 * CHUNK: 1}
    assert built.rows.equals(candidates.CANDIDATES.build(replace(ctx, workspace=None)).rows)
