from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from convrec.artifacts import Store
from convrec.artifacts.runs import find_run
from flows.pipeline import pipeline


def task_runs(flow_run_id: str, awaited: str) -> dict[str, Any]:
    """Task runs by name, once `awaited` is among them: Prefect records them a moment later."""
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    deadline = time.monotonic() + 30
    while True:
        with get_client(sync_client=True) as client:
            runs = {run.name: run for run in client.read_task_runs(flow_run_filter=wanted)}
        if awaited in runs or time.monotonic() > deadline:
            return runs
        time.sleep(0.2)


def upstream_ids(run: Any) -> set[str]:
    return {str(source.id) for sources in run.task_inputs.values() for source in sources}


def test_task_runs_have_names_and_edges_cached_or_not(home: Path, small: dict[str, Any]) -> None:
    for _ in range(2):
        summary = pipeline(profile="demo", overrides=small, until="remap")
        ids = {e["kind"]: e["artifact_id"] for e in summary["stages"] if e["artifact_id"]}
        suffixes = {kind: name.rpartition("-")[2][:4] for kind, name in ids.items()}
        name = f"remap · 34 contexts · {suffixes['candidates']}"
        runs = task_runs(summary["flow_run_id"], name)
        remap = runs[name]
        catalog = runs[f"ingest · catalog · {suffixes['catalog']}"]
        teacher = runs[f"recommend · 34 contexts · {suffixes['teacher_lists']}"]
        assert {str(catalog.id), str(teacher.id)} <= upstream_ids(remap)
        assert str(runs["recommend · 34 contexts · asking"].id) in upstream_ids(teacher)
        record = find_run(Store(home), summary["flow_run_id"])
        assert [used.artifact_id for used in record.artifacts] == [
            e["artifact_id"] for e in summary["stages"] if e["artifact_id"]
        ]
    assert {used.state for used in record.artifacts} == {"cached"}
    assert record.overrides == small
