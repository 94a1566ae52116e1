"""A file that changes between hashing and reading does not become an artifact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.config import load
from convrec.errors import InputError
from convrec.pipeline.graph import NODES
from convrec.pipeline.node_state import Resolver
from tasks.node_tasks import build
from tasks.task_input import TaskInput


def rows_text(word: str) -> str:
    truth = {"seen_titles": [], "groundtruth_with_release_year": [["Heat", "1995"]]}
    return "".join(json.dumps({"prompt": f"{word} {n}", **truth}) + "\n" for n in range(30))


@pytest.mark.parametrize("name", ["conversations", "quarantine"])
def test_a_file_that_changes_after_hashing_is_refused(
    store: Store, tmp_path: Path, name: str
) -> None:
    (tmp_path / "catalog.csv").write_text("title,year\nHeat,1995\n")
    rows = tmp_path / "train.jsonl"
    rows.write_text(rows_text("before"))
    config = load("reddit-v2", {"ingest.path": str(tmp_path)})
    task_input = TaskInput(Resolver(config, store).resolve(NODES[name]))
    artifact_id = task_input.artifact_id
    rows.write_text(rows_text("after"))
    with pytest.raises(InputError, match="changed while they were read"):
        build(task_input)
    assert store.find(artifact_id) is None
