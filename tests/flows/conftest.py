"""One Prefect server for all flow tests, and an empty warehouse for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    with (
        prefect_test_harness(server_startup_timeout=90),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture
def home(prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty warehouse."""
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def small() -> dict[str, object]:
    """Overrides that shrink the demo; every stage still does real work."""
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
