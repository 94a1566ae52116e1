"""One Prefect server for all flow tests, and a fresh warehouse for each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from convrec.artifacts import Store
from convrec.config import load
from convrec.pipeline.reparse import response_nodes


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    with (
        prefect_test_harness(server_startup_timeout=90),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture
def home(prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A warehouse of the test's own."""
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def small() -> dict[str, object]:
    """Overrides that make the demo small enough for a test; every stage still does real work."""
    return {
        "ingest.contexts": {"train": 24, "validation": 4, "test": 6},
        "model.hidden": 16,
        "model.layers": 1,
        "model.vocabulary": 400,
        "model.max_completion_tokens": 120,
        "list_length": 5,
        "reflect.top": 8,
        "remap.keep": 12,
        "sft.epochs": 1,
        "rank_grpo.steps": 1,
        "rank_grpo.prompts_per_step": 2,
        "rank_grpo.group_size": 2,
        "evaluate.bootstrap": 20,
    }


def late(file: Path, overrides: Mapping[str, Any]) -> dict[str, str]:
    """Overrides that replay a Batch output file without an answer: it failed, for one post."""
    _, _, ctx = next(response_nodes(load("demo", overrides), Store(file.with_suffix(".home"))))
    owner = ctx.frame("conversations")["context_id"][0]
    line = {"custom_id": owner, "response": None, "error": {"code": "batch_expired"}}
    file.write_text(json.dumps(line))
    return {"recommend.source": "replay", "recommend.replay": str(file)}


def ids(summary: dict[str, Any]) -> list[str | None]:
    """The artifacts of a run, node by node."""
    return [entry["artifact_id"] for entry in summary["stages"]]
