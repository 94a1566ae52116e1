"""Artifacts and runs in a warehouse, without the steps that build them."""

from __future__ import annotations

import polars as pl

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.artifacts.runs import COMPLETED, RunArtifact, add_run_artifact, finish_run, start_run

_ROWS = pl.DataFrame({"source": ["f"], "line": [1], "reason": ["r"], "raw": [""]})
_CHECKPOINT = pl.DataFrame({"path": ["."], "base": ["tiny"], "parameters": [1], "manifest": ["{}"]})


def put_artifact(store: Store, name: str, *parents: str) -> str:
    """Put a `quarantine` artifact with one row; returns its id."""
    spec = ArtifactSpec("quarantine", "ingest", 1, {"name": name}, {p: p for p in parents})
    return store.put(spec, StepResult(_ROWS)).artifact_id


def put_checkpoint(store: Store, name: str, *parents: str) -> str:
    """Put a `checkpoint` artifact with a file; returns its id."""
    scratch = store.make_scratch_folder()
    (scratch / "model.safetensors").write_text("weights")
    spec = ArtifactSpec("checkpoint", "sft", 1, {"name": name}, {p: p for p in parents})
    return store.put(spec, StepResult(_CHECKPOINT), scratch=scratch).artifact_id


def record_run(
    store: Store, run_id: str, *artifact_ids: str, flow: str = "pipeline", finish: bool = True
) -> None:
    """Record a run with its artifacts."""
    start_run(store, run_id, flow=flow, profile="demo", overrides={}, config={})
    for artifact_id in artifact_ids:
        add_run_artifact(store, run_id, RunArtifact("n", artifact_id, COMPLETED, 0.1))
    if finish:
        finish_run(store, run_id, COMPLETED)


def stored_ids(store: Store) -> set[str]:
    """The ids of all artifacts."""
    return {header.ref.artifact_id for header in store.headers()}
