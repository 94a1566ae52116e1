from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.settings import Settings

from convrec.config import load

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())[
    "deployments"
]


def flow_of(entry: dict[str, Any]) -> Flow[Any, Any]:
    module, _, function = str(entry["entrypoint"]).partition(":")
    assert (ROOT / module).is_file()
    flow = getattr(importlib.import_module(module.removesuffix(".py").replace("/", ".")), function)
    assert isinstance(flow, Flow)
    return flow


def title(entry: dict[str, Any]) -> str:
    return f"{flow_of(entry).name}/{entry['name']}"


every_deployment = pytest.mark.parametrize("entry", DEPLOYMENTS, ids=title)


def test_the_expected_deployments_exist() -> None:
    names = [title(entry) for entry in DEPLOYMENTS]
    assert len(set(names)) == len(names)
    assert set(names) >= {
        "pipeline/demo",
        "pipeline/reddit-v2",
        "build-sft-data/reddit-v2",
        "build-sft-data/on-catalog-change",
        "train/reddit-v2",
        "evaluate/reddit-v2",
        "ablate-sft-data/reddit-v2",
        "compare-training/reddit-v2",
        "check-catalogs/hourly",
    }


@every_deployment
def test_deployed_parameters_are_accepted(entry: dict[str, Any]) -> None:
    flow = flow_of(entry)
    parameters = entry["parameters"]
    flow.validate_parameters(parameters)
    if "profile" in parameters:
        load(parameters["profile"])


@every_deployment
def test_the_form_of_every_flow_explains_its_parameters(entry: dict[str, Any]) -> None:
    properties = flow_of(entry).parameters.model_dump()["properties"]
    assert [name for name, field in properties.items() if not field["description"]] == []
    if "refresh" in properties:
        assert {"profile", "overrides"} <= set(properties)
        assert "rank_grpo" in str(properties["refresh"]["anyOf"])


@every_deployment
def test_every_run_sends_heartbeats_and_has_a_limit(entry: dict[str, Any]) -> None:
    pool = entry["work_pool"]
    assert pool["name"] == "local"
    variables = pool["job_variables"]["env"]
    assert {type(value) for value in variables.values()} == {str}
    known = {f"PREFECT_FLOWS_{name}".upper() for name in type(Settings().flows).model_fields}
    assert {name for name in variables if name.startswith("PREFECT_")} <= known
    assert int(variables["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) >= 30  # Prefect's shortest
    limit = entry["concurrency_limit"]
    assert limit["limit"] == 1
    ConcurrencyLimitStrategy(limit["collision_strategy"])


def test_schedules_exist_and_are_paused() -> None:
    schedules = {title(e): e["schedules"] for e in DEPLOYMENTS if "schedules" in e}
    assert {"pipeline/reddit-v2", "build-sft-data/reddit-v2"} <= set(schedules)
    for (schedule,) in schedules.values():
        assert schedule["active"] is False
        CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])


def test_publishing_a_catalog_triggers_its_rebuild() -> None:
    (entry,) = [e for e in DEPLOYMENTS if e["name"] == "on-catalog-change"]
    (raw,) = entry["triggers"]
    trigger = DeploymentEventTrigger.model_validate({**raw, "name": "t"})
    assert trigger.expect == {"catalog.changed"}
    assert set(raw["parameters"]) == {"name", "version", "profiles"}
    assert set(raw["parameters"]) <= set(flow_of(entry).parameters.properties)


def test_a_silent_run_is_marked_as_crashed() -> None:
    entries = yaml.safe_load((ROOT / "automations.yaml").read_text())["automations"]
    automations = [AutomationCore.model_validate(entry) for entry in entries]
    assert any("crashed" in automation.name for automation in automations)
    heartbeat = int(
        DEPLOYMENTS[0]["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]
    )
    windows = [automation.trigger.within.total_seconds() for automation in automations]
    assert min(windows) >= 3 * heartbeat


def test_the_commented_work_pools_are_valid() -> None:
    lines = (ROOT / "prefect.yaml").read_text().splitlines()
    starts = [
        n
        for n, line in enumerate(lines)
        if line.strip() in ("# docker: &docker", "# kubernetes: &kubernetes", "# ecs: &ecs")
    ]
    assert len(starts) == 3
    for start in starts:
        while lines[start].startswith("  # "):
            lines[start] = "  " + lines[start][4:]
            start += 1
    definitions = yaml.safe_load("\n".join(lines))["definitions"]
    images = {
        definitions[name]["job_variables"]["image"] for name in ("docker", "kubernetes", "ecs")
    }
    assert len(images) == 1
    assert definitions["docker"]["job_variables"]["env"]["CONVREC_HOME"] == "/warehouse"
    assert definitions["kubernetes"]["job_variables"]["env"]["PREFECT_API_URL"].endswith("/api")
    assert "prefect.deployments.steps.set_working_directory" in definitions["inside"][0]
