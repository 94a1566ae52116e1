"""A run has the name that a user gave it, else one that says what is run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow
from prefect.utilities.names import generate_slug

from flows import parameters
from flows.check_catalogs import check_catalogs
from flows.parameters import given_name, named


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
    assert parameters.run_name() == "train demo"
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
