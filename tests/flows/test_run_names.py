"""A run has the name that a user gave it, else one that says what is run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow
from prefect.utilities.names import generate_slug

from convrec.artifacts import Store
from convrec.catalog.publish import publish_catalog
from convrec.config import ROOT, home
from flows import parameters
from flows.check_catalogs import check_catalogs
from flows.parameters import given_name, named
from tasks.flow_names import change_title, flow_run_title


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The flow run that the code sees."""
    seen = SimpleNamespace(name="", flow_name="train", parameters={"profile": "demo"})
    monkeypatch.setattr(parameters, "flow_run", seen)
    return seen


def test_generated_names_are_no_given_names(run: Any) -> None:
    for _ in range(200):
        run.name = generate_slug(2)
        assert given_name() == "", run.name
    for run.name in ("nightly-run", "Otter", "proud-otter-2", "the run of May", "proud"):
        assert given_name() == run.name


def test_a_run_without_a_name_says_what_it_runs(run: Any) -> None:
    run.name = "proud-otter"
    assert parameters.run_name() == "train · demo"
    assert named("of {profile}")() == "of demo"
    run.name = "before the release"
    assert parameters.run_name() == named("of {profile}")() == "before the release"


def test_prefect_keeps_the_name_of_a_run(prefect_server: None) -> None:
    def name_of(given: str | None) -> str:
        with get_client(sync_client=True) as client:
            created: FlowRun = client.create_flow_run(check_catalogs, name=given)
            run_flow(check_catalogs, created, {})
            return str(client.read_flow_run(created.id).name)

    assert name_of("before the release") == "before the release"
    assert name_of(None) == "check-catalogs"


@pytest.mark.parametrize(
    ("values", "title"),
    [
        ({"profile": "demo"}, "train · demo"),
        ({"profile": "profiles/own.toml", "until": "remap"}, "train · own · until remap"),
        (
            {"profile": "demo", "overrides": {"seed": 8, "remap.keep": 30}, "refresh": "remap"},
            "train · demo · refresh remap · seed=8 · remap.keep=30",
        ),
        ({"profile": "demo", "overrides": {"a": 1, "b": 2, "c": 3}}, "train · demo · 3 settings"),
        ({"profile": "demo", "overrides": {"a": "x" * 50}}, "train · demo · 1 setting"),
        ({"profile": "demo", "checkpoint": "/models/best"}, "train · demo · checkpoint best"),
        ({"profile": "no-such-profile"}, "train · no-such-profile"),
    ],
)
def test_a_name_tells_runs_apart(values: dict[str, Any], title: str) -> None:
    assert flow_run_title("train", values) == title


def test_a_name_has_the_version_of_the_catalog(tmp_path: Path) -> None:
    store, file = Store(home()), tmp_path / "demo.csv"
    shipped = (ROOT / "catalog" / "demo.csv").read_text(encoding="utf-8")
    file.write_text(shipped.replace("Heat,1995", "Heat Wave,1995"))
    publish_catalog(file, "demo", store)
    newest = "pipeline · demo · catalog v2 · 1 edit"
    assert flow_run_title("pipeline", {"profile": "demo"}) == newest
    pinned = {"profile": "demo", "overrides": {"ingest.catalog": "catalog:demo@1"}}
    assert flow_run_title("pipeline", pinned) == "pipeline · demo · catalog v1"
    other = {"profile": "reddit-v2", "overrides": {"ingest.catalog": "catalog:demo"}}
    named = "pipeline · reddit-v2 · catalog demo v2 · 1 edit"
    assert flow_run_title("pipeline", other) == named
    change = {"name": "demo", "version": None, "profile": "", "profiles": None}
    assert change_title(change) == "catalog change · demo · catalog v2 · 1 edit"
    assert change_title({**change, "profiles": ["demo", "a.toml"]}).endswith(" · for demo, a")
    assert change_title({"name": "films"}) == "catalog change · films"
