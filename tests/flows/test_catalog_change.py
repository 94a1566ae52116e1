from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import Artifact, StateType
from prefect.exceptions import ObjectNotFound
from prefect.input.run_input import keyset_from_paused_state

from convrec.artifacts import Store
from convrec.catalog.publish import publish_catalog
from convrec.catalog.versions import list_versions
from convrec.config import ROOT
from convrec.errors import CatalogError
from flows.build_sft_data import build_sft_data
from flows.on_catalog_change import on_catalog_change
from tasks import approval
from tasks.catalog_event import announce

Small = dict[str, Any]


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """The demo's catalog with one film less and one more."""
    lines = (ROOT / "catalog" / "demo.csv").read_text(encoding="utf-8").splitlines()
    path = tmp_path / "edited.csv"
    extra = "The Iron Giant,1999,Animation|Family,,boy robot friendship space"
    path.write_text("\n".join([*lines[:60], *lines[61:], extra]) + "\n", encoding="utf-8")
    return path


def artifacts(run_id: str) -> list[Artifact]:
    """What a run left in the UI, in order; progress bars are left out."""
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted)
    found.sort(key=lambda artifact: str(artifact.created))
    return [artifact for artifact in found if artifact.type != "progress"]


def test_a_published_version_is_planned_rebuilt_and_reported(
    home: Path, small: Small, edited: Path
) -> None:
    first = build_sft_data(profile="demo", overrides=small)
    store = Store(home)
    made = publish_catalog(edited, "demo", store)
    assert announce(made, store) == ""
    assert list_versions(store, "demo")[-1].announced_at is not None

    second = on_catalog_change("demo", overrides=small)
    states = {entry["kind"]: entry["state"] for entry in second["stages"]}
    assert states["teacher_lists"] == states["conversations"] == states["similarity_basis"]
    assert states["teacher_lists"] == "cached"
    assert states["candidates"] == states["demonstrations"] == "completed"
    assert second["llm"]["sent"] < first["llm"]["sent"] / 3

    left = artifacts(second["flow_run_id"])
    assert (left[0].key, left[-1].key) == ("change-plan", "change-report")
    plan, report = str(left[0].data), str(left[-1].data)
    assert "1 added, 1 removed, 0 renamed, 0 changed" in plan
    assert "The Iron Giant" in plan
    changes = second["changes"]
    assert 0 < changes["changed"] <= changes["demonstrations"] == 34
    lines = pl.read_csv(changes["lines"])
    names = lines["context_id"].unique().to_list()
    assert len(names) == changes["changed"]
    assert all(f"`{name}`" in report for name in names)
    assert "NDCG@20" in report


def test_a_plan_waits_until_somebody_answers(
    home: Path, small: Small, edited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval, "TIMEOUT", 240)  # a lost answer fails soon, not in a week
    build_sft_data(profile="demo", overrides=small)
    publish_catalog(edited, "demo", Store(home))
    asked: list[str] = []
    waiting = threading.Thread(target=answer_the_form, args=(asked, {"accept": False}))
    waiting.start()
    state = on_catalog_change("demo", overrides=small, approve=True, return_state=True)
    waiting.join()
    assert state.name == "Cancelled"
    assert asked
    store = Store(home)
    assert len(store.headers("demonstrations")) == 1
    with store.read_connection() as connection:
        runs = connection.execute("SELECT count(DISTINCT run) FROM llm_ledger").fetchone()
    assert runs == (1,)


def answer_the_form(asked: list[str], answer: dict[str, Any]) -> None:
    """Answer the run that is paused, as soon as its form is there: that comes after its state."""
    paused = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED]))
    )
    deadline = time.monotonic() + 200
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline and not asked:
            time.sleep(0.5)
            for run in client.read_flow_runs(flow_run_filter=paused):
                keyset = keyset_from_paused_state(run.state) if run.state else {}
                with contextlib.suppress(ObjectNotFound):
                    client.read_flow_run_input(run.id, keyset["schema"])
                    client.resume_flow_run(run.id, run_input=answer)
                    asked.append(str(run.id))


def test_what_was_never_published_is_refused_in_one_sentence(home: Path) -> None:
    with pytest.raises(CatalogError, match="catalog demo has no version yet"):
        on_catalog_change("demo")
    with pytest.raises(CatalogError, match="no profile takes catalog films"):
        on_catalog_change("films")
