"""`make deploy` on a server that has automations and deployments of earlier versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate

from convrec.config import ROOT
from convrec.errors import ConfigError
from flows import deploy

ENTRIES: list[dict[str, Any]] = yaml.safe_load((ROOT / "automations.yaml").read_text())[
    "automations"
]
NAME: str = ENTRIES[0]["name"]
OLDER: dict[str, Any] = {
    "name": NAME,
    "trigger": {
        "type": "event",
        "posture": "Proactive",
        "expect": ["prefect.flow-run.heartbeat"],
        "within": 60,
    },
    "actions": [{"type": "do-nothing"}],
}
"""What an earlier version made: no description, fewer fields, another action."""


@pytest.fixture
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as connected:
        yield connected
        for row in automations(connected):
            connected.request("DELETE", f"/automations/{row['id']}")  # type: ignore[arg-type]


def automations(client: SyncPrefectClient) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.request("POST", "/automations/filter", json={}).json()
    return [row for row in rows if row["name"].startswith("convrec: ")]


def create(client: SyncPrefectClient, **changed: Any) -> None:
    client.request("POST", "/automations/", json=OLDER | changed).raise_for_status()


@pytest.mark.parametrize("older", [0, 1, 3])
def test_automations_are_applied_over_earlier_ones(client: SyncPrefectClient, older: int) -> None:
    for _ in range(older):
        create(client)
    for _ in range(2):
        deploy.apply_automations(client, ENTRIES)
        (row,) = automations(client)
        assert row["name"] == NAME
        assert row["description"] == ENTRIES[0]["description"]
        assert row["trigger"]["within"] == ENTRIES[0]["trigger"]["within"]
        assert [action["type"] for action in row["actions"]] == ["change-flow-run-state"]


def test_what_an_earlier_version_left_is_named_and_stays(client: SyncPrefectClient) -> None:
    create(client, name="convrec: by another name")
    create(client, name="somebody's own")

    @flow(name="earlier")
    def earlier() -> None:
        """Nothing."""

    flow_id = client.create_flow(earlier)
    tagged = client.create_deployment(flow_id, name="nightly", tags=["convrec"])
    own = client.create_deployment(flow_id, name="own")
    try:
        lines = deploy.outdated(client, ENTRIES)
    finally:
        for deployment in (tagged, own):
            client.delete_deployment(UUID(str(deployment)))
    assert len(lines) == 2
    assert "'convrec: by another name'" in lines[0]
    assert "prefect automation delete --id " in lines[0]
    assert "prefect deployment delete earlier/nightly" in lines[1]
    assert [row["name"] for row in automations(client)] == ["convrec: by another name"]


def test_a_work_pool_of_another_type_is_refused(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "POOL", "other")
    client.create_work_pool(WorkPoolCreate(name="other", type="docker"))
    with pytest.raises(ConfigError, match="'other' on this server has type 'docker'"):
        deploy._create_pool(client)


def test_a_paused_work_pool_stays_paused(
    client: SyncPrefectClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(deploy, "POOL", "paused")
    client.create_work_pool(WorkPoolCreate(name="paused", type="process", is_paused=True))
    deploy._create_pool(client)
    assert client.read_work_pool("paused").is_paused
    assert "prefect work-pool resume paused" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["workers"], ["worker", "now"], ["--help"]])
def test_an_unknown_argument_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy.main(arguments) == 2
    assert "give nothing, or worker" in capsys.readouterr().err
