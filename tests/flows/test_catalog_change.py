from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.input.run_input import keyset_from_paused_state

from convrec.artifacts import Store
from convrec.catalog.diff import CatalogDiff
from convrec.catalog.publish import publish_catalog
from convrec.catalog.versions import list_versions
from convrec.config import ROOT
from convrec.errors import CatalogError
from convrec.operations.catalog_change.plan import ChangePlan
from flows.build_sft_data import build_sft_data
from flows.on_catalog_change import on_catalog_change
from tasks import approval
from tasks.catalog_event import announce
from tests.support.prefect_artifacts import published_artifacts

Small = dict[str, Any]


@pytest.fixture
def edited_catalog(tmp_path: Path) -> Path:
    """The demo's catalog with one film removed and one added."""
    lines = (ROOT / "catalog" / "demo.csv").read_text(encoding="utf-8").splitlines()
    path = tmp_path / "edited.csv"
    extra = "The Iron Giant,1999,Animation|Children,,boy robot friendship space,warm,Brad Bird,"
    path.write_text(
        "\n".join([*(line for line in lines if not line.startswith("Heat,")), extra]) + "\n",
        encoding="utf-8",
    )
    return path


def test_a_published_version_is_planned_rebuilt_and_reported(
    home: Path, small: Small, edited_catalog: Path
) -> None:
    first = build_sft_data(profile="demo", overrides=small)
    store = Store(home)
    version = publish_catalog(edited_catalog, "demo", store)
    assert announce(version, store) == ""
    assert list_versions(store, "demo")[-1].announced_at is not None

    second = on_catalog_change("demo", overrides=small)
    states = {entry["kind"]: entry["state"] for entry in second["stages"]}
    reused = ("teacher_lists", "conversations", "similarity_basis")
    assert {states[kind] for kind in reused} == {"cached"}
    assert states["candidates"] == states["demonstrations"] == "completed"
    assert second["llm"]["sent"] < first["llm"]["sent"] / 3

    artifacts = published_artifacts(second["flow_run_id"])
    assert [one.key for one in artifacts[-2:]] == ["change-report", "summary"]
    by_key = {one.key: one for one in artifacts}
    plan, report, summary = (
        str(by_key[key].data) for key in ("change-plan", "change-report", "summary")
    )
    assert artifacts[0].key == "change-plan"
    assert f"(/v2/artifacts/artifact/{by_key['change-report'].id})" in summary
    assert "1 added, 1 removed, 0 renamed, 0 changed" in plan
    assert "The Iron Giant" in plan
    changes = second["changes"]
    assert 0 < changes["changed"] <= changes["demonstrations"] == 34
    lines = pl.read_csv(changes["lines"])
    names = lines["context_id"].unique().to_list()
    assert len(names) == changes["changed"]
    assert "`changed-demonstrations`" in report
    table = next(str(a.data) for a in artifacts if a.key == "changed-demonstrations")
    assert all(name in table for name in names)
    assert "NDCG@20" in report
    assert f"**{changes['changed']:,} of 34 lists changed**" in summary
    assert f"**{changes['changed']:,} of 34 lists changed**" in report


def test_a_rejected_plan_cancels_the_run_and_sends_nothing(
    home: Path, small: Small, edited_catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval, "TIMEOUT", 240)  # fail soon if the form is never answered
    build_sft_data(profile="demo", overrides=small)
    publish_catalog(edited_catalog, "demo", Store(home))
    answered_runs: list[str] = []
    answering = threading.Thread(target=answer_form, args=(answered_runs, {"accept": False}))
    answering.start()
    state = on_catalog_change("demo", overrides=small, approve=True, return_state=True)
    answering.join()
    assert state.name == "Cancelled"
    assert len(answered_runs) == 1
    store = Store(home)
    assert len(store.headers("demonstrations")) == 1
    with store.read_connection() as connection:
        runs = connection.execute("SELECT count(DISTINCT run) FROM llm_ledger").fetchone()
    assert runs == (1,)


def answer_form(answered_runs: list[str], answer: dict[str, Any]) -> None:
    """Answer the form of a paused run as soon as it exists, which is after the run's state."""
    paused = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED]))
    )
    deadline = time.monotonic() + 200
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline and not answered_runs:
            time.sleep(0.5)
            for run in client.read_flow_runs(flow_run_filter=paused):
                keyset = keyset_from_paused_state(run.state) if run.state else {}
                with contextlib.suppress(ObjectNotFound):
                    client.read_flow_run_input(run.id, keyset["schema"])
                    client.resume_flow_run(run.id, run_input=answer)
                    answered_runs.append(str(run.id))


def test_the_form_says_why_what_and_how_much() -> None:
    diff = CatalogDiff(*(pl.DataFrame({"item_id": ["x"] * count}) for count in (2, 0, 1, 0)))
    llm = {"judge": {"requests": 1200, "usd_low": 0.5, "usd_high": 1.25}}
    plan = ChangePlan("demo", None, diff, 204, 2400, 1107, [], llm)
    text = approval.form_text(plan, "catalog demo, version 2", "/page", None)
    assert "Items: 2 added, 1 renamed." in text
    assert "1,200 requests, **$0.5000 to $1.2500**; the profile sets no limit" in text
    assert "1,107 of 2,400 contexts change. [The plan](/page)" in text
    assert "the run ends as cancelled" in text
    assert "No answer within 7 days" in text
    unknown = dataclasses.replace(plan, diff=None, affected_contexts=None)
    text = approval.form_text(unknown, "catalog demo", "", 2.0)
    assert "the profile stops at $2. It is not known yet" in text
    assert "Items" not in text
    assert "[The plan]" not in text


def test_an_unpublished_catalog_is_refused(home: Path) -> None:
    with pytest.raises(CatalogError, match="catalog demo has no version yet"):
        on_catalog_change("demo")
    with pytest.raises(CatalogError, match="no profile takes catalog films"):
        on_catalog_change("films")
