"""Partitions on a local Dask cluster give the same rows, also if a worker is killed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prefect import flow
from prefect.testing.utilities import prefect_test_harness

from convrec.artifacts import StepResult, Store
from convrec.artifacts.identity import ArtifactSpec
from convrec.config import load
from convrec.pipeline.graph import NODES
from convrec.stages.base import StepContext
from convrec.stages.partitions import CHUNK
from convrec.stages.remap import candidates
from flows.build_sft_data import build_sft_data
from tasks.dask import on_dask
from tests.support import killed_worker
from tests.support.generated_posts import generated_teacher_lists, write_generated_posts
from tests.support.servers import free_port
from tests.support.timing import Timed

pytestmark = pytest.mark.scale
CONTEXTS = 5 * CHUNK - 100


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def ctx(tmp_path: Path) -> StepContext:
    """A warehouse of generated contexts, with teacher lists and similarity basis."""
    write_generated_posts(tmp_path, CONTEXTS)
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
        reads = NODES[name].reads.items()
        parents = {role: refs[node] for role, node in reads if node in refs}
        step_ctx = StepContext(config, store, parents)
        if name == "teacher_lists":
            spec = ArtifactSpec("teacher_lists", "recommend", 0)
            lists = generated_teacher_lists(step_ctx.frame("conversations"))
            refs[name] = store.put(spec, StepResult(lists))
        else:
            step = NODES[name].step
            refs[name] = store.put(step.spec(step_ctx), step.build(step_ctx))
    return StepContext(config, store, refs, workspace=tmp_path / "work")


def build_on_dask(ctx: StepContext) -> Any:
    """Build candidates inside a flow, as the pipeline does."""
    results = []

    @flow
    def build_candidates() -> None:
        results.append(candidates.CANDIDATES.build(replace(ctx, spread=on_dask)))

    build_candidates()
    return results[0]


def test_a_started_cluster_builds_the_rows_of_one_process(ctx: StepContext, timed: Timed) -> None:
    with timed("two workers, started for it"):
        built = build_on_dask(ctx)
    with timed("one process"):
        alone = candidates.CANDIDATES.build(replace(ctx, workspace=None))
    assert len(built.output.files) == 3
    assert built.rows.equals(alone.rows)
    assert built.figures == alone.figures


def test_all_data_stages_on_a_cluster_give_the_rows_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: dict[str, dict[str, pl.DataFrame]] = {}
    for kind in ("process", "dask"):
        monkeypatch.setenv("CONVREC_HOME", str(tmp_path / kind))
        settings = {
            "ingest.contexts": {"train": 2 * CHUNK, "validation": 20, "test": 20},
            "remap.describe": "off",
            "reflect.passes": 1,
            "runner.kind": kind,
            "runner.partitions": 3,
            "runner.workers": 2,
        }
        build_sft_data(profile="demo", overrides=settings)
        store = Store(tmp_path / kind)
        refs = [record.ref for record in store.headers()]
        rows[kind] = {ref.artifact_id: store.read(ref.artifact_id) for ref in refs}
    assert {name.rpartition("-")[0] for name in rows["dask"]} >= {"teacher_lists", "judgments"}
    assert rows["dask"].keys() == rows["process"].keys()
    for name, found in rows["dask"].items():
        assert found.equals(rows["process"][name]), name


@contextlib.contextmanager
def cluster(workers: int, folder: Path) -> Iterator[str]:
    """Start a scheduler and workers with the command `dask`; yields the address.

    They are separate processes, and each worker has its own folder.
    """
    dask, address = str(Path(sys.executable).with_name("dask")), f"tcp://127.0.0.1:{free_port()}"
    scheduler = [dask, "scheduler", "--port", address.rpartition(":")[2], "--no-dashboard"]
    commands = [[*scheduler, "--host", "127.0.0.1"]]
    for number in range(workers):
        worker_folder = folder / f"worker-{number}"
        worker_folder.mkdir()
        options = ["--nthreads", "1", "--no-dashboard", "--local-directory", str(worker_folder)]
        commands.append([dask, "worker", address, *options])
    started = [subprocess.Popen(command, cwd=folder) for command in commands]
    try:
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=60)


def test_a_running_cluster_builds_the_rows_of_one_process(
    ctx: StepContext, tmp_path: Path, timed: Timed
) -> None:
    from distributed import Client

    with cluster(2, tmp_path) as address:
        runner = ctx.config.runner.model_copy(update={"address": address})
        remote = replace(ctx, config=ctx.config.model_copy(update={"runner": runner}))
        with timed("two running workers"):
            built = build_on_dask(remote)
        with Client(address) as client:
            counts = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert len(counts) == 2
    assert sum(counts.values()) == 3  # this process built no partition
    assert len(built.output.files) == 3
    assert built.rows.equals(candidates.CANDIDATES.build(replace(ctx, workspace=None)).rows)


def test_only_the_partition_of_a_killed_worker_is_rebuilt(
    ctx: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_build_partition", killed_worker.die_once)
    built = build_on_dask(ctx)
    monkeypatch.undo()
    assert killed_worker.count_attempts(ctx.store) == {0: 1, 2 * CHUNK: 2, 4 * CHUNK: 1}
    assert built.rows.equals(candidates.CANDIDATES.build(replace(ctx, workspace=None)).rows)
