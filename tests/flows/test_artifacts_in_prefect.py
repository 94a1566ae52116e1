from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.pipeline import pipeline
from tests.support.prefect_artifacts import artifacts_by_key


def test_figures_and_lineage_are_in_the_ui(home: Path, small: dict[str, Any]) -> None:
    first = pipeline(profile="demo", overrides=small, until="remap")
    artifacts = artifacts_by_key(first["flow_run_id"])
    kinds = {"catalog", "conversations", "quarantine", "teacher-lists", "candidates"}
    assert kinds <= set(artifacts)
    assert "linked" in str(artifacts["candidates"].data)
    link_to_first = f'href "/v2/runs/flow-run/{first["flow_run_id"]}"'
    assert link_to_first in str(artifacts["lineage"].data)

    second = pipeline(profile="demo", overrides=small, until="remap")
    artifacts = artifacts_by_key(second["flow_run_id"])
    assert set(artifacts) == {"lineage"}
    assert link_to_first in str(artifacts["lineage"].data)
    assert "cached" in str(artifacts["lineage"].data)
