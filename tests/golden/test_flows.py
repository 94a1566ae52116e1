"""The flows behind the deployments, run over a stored demo as a worker would run them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterName,
)

from tests.golden.access import ROOT, convrec, deployed_flow
from tests.golden.conftest import Golden
from tests.golden.worlds import SMALL, run, shape


@pytest.fixture
def home(prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("CONVREC_HOME", str(folder))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    run("demo", SMALL, folder)
    return folder


def flow(entrypoint: str) -> Any:
    """The flow of a deployment whose entrypoint is named in prefect.yaml."""
    entries = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert any(entry["entrypoint"] == entrypoint for entry in entries)
    return deployed_flow(entrypoint)


def newest(name: str) -> dict[str, Any]:
    """The newest flow run whose name starts with `name`: its tasks and artifact keys."""
    with get_client(sync_client=True) as client:
        named = FlowRunFilter(name=FlowRunFilterName(like_=name))
        run = max(client.read_flow_runs(flow_run_filter=named), key=lambda one: one.created)
        one = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        of_it = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        tasks = client.read_task_runs(flow_run_filter=one, limit=200)
        artifacts = client.read_artifacts(artifact_filter=of_it, limit=200)
    return {
        "name": run.name,
        "tasks": sorted(re.sub(r"-[0-9a-f]{3}$", "", task.name) for task in tasks),
        "artifacts": sorted({f"{a.key} ({a.type})" for a in artifacts if a.type != "progress"}),
    }


def outcome(summary: dict[str, Any]) -> list[list[Any]]:
    return [[e["stage"], e["kind"], e["state"], e["artifact_id"]] for e in summary["stages"]]


@pytest.mark.slow
def test_flows_over_what_is_stored(golden: Golden, home: Path) -> None:
    found = {}
    for name, entrypoint in (
        ("build-sft-data", "flows/build_sft_data.py:build_sft_data"),
        ("train", "flows/train.py:train"),
        ("evaluate", "flows/evaluate.py:evaluate"),
    ):
        summary = flow(entrypoint)(profile="demo", overrides=SMALL)
        assert {e["state"] for e in summary["stages"]} == {"cached"}
        found[name] = {"seen": newest(name), "summary": outcome(summary)}
    kept = flow("flows/retention.py:retention")(keep_runs=3, days=7, delete=False)
    found["retention"] = {"seen": newest("retention"), "returned": shape(kept)}
    watched = flow("flows/check_catalogs.py:check_catalogs")(dry_run=True)
    found["check-catalogs"] = {"seen": newest("check-catalogs"), "returned": shape(watched)}
    golden("flow_runs", found)


@pytest.mark.slow
def test_a_flow_that_ablates_the_data(golden: Golden, home: Path) -> None:
    summary = flow("flows/ablate_sft_data.py:ablate_sft_data")(profile="demo", overrides=SMALL)
    found = {"seen": newest("ablate-sft-data"), "summary": outcome(summary)}
    golden("flow_ablate", found)


@pytest.mark.slow
def test_a_flow_that_follows_a_catalog(golden: Golden, home: Path, tmp_path: Path) -> None:
    shipped = (ROOT / "catalog" / "demo.csv").read_text(encoding="utf-8")
    edited = tmp_path / "demo.csv"
    edited.write_text(shipped.replace("Heat,1995", "Heat: The Cut,1995"), encoding="utf-8")
    words = ("catalog", "publish", edited, "--name", "demo", "--json", "-")
    published = convrec(*words, home=home).json
    assert published["renamed"] + published["added"] + published["changed"] > 0
    change = flow("flows/on_catalog_change.py:on_catalog_change")
    summary = change(name="demo", profile="demo", overrides=SMALL)
    golden(
        "flow_catalog_change",
        {
            "seen": newest("catalog change"),
            "summary": outcome(summary),
            "returned": shape(summary),
            "llm": {k: v for k, v in summary["llm"].items() if k != "usd"},
        },
    )
