"""An empty warehouse for each flow test, and a demo that is quick."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tiny_demo import TINY_DEMO


@pytest.fixture
def home(prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty warehouse."""
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def small() -> dict[str, object]:
    """Overrides that shrink the demo; every stage still does real work."""
    return {
        **TINY_DEMO,
        "sft.epochs": 1,
        "rank_grpo.steps": 1,
        "rank_grpo.prompts_per_step": 2,
        "rank_grpo.group_size": 2,
        "evaluate.bootstrap": 20,
    }
