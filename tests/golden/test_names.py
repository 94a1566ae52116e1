"""Names that users rely on: flows, tasks, deployments, automations, events, artifact keys."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterTaskRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import Artifact

from tests.golden.access import (
    ROOT,
    convrec,
    definitions,
    deployed_flow,
    events_of_catalogs,
    form,
    graph,
)
from tests.golden.conftest import Golden
from tests.golden.worlds import Demo, shape

PROFILE = """
description = "Takes a catalog."
[ingest]
format = "demo"
catalog = "catalog:golden"
"""


def test_names_of_flows_and_tasks(golden: Golden) -> None:
    found = definitions()
    golden("flows", found["flows"])
    golden("tasks", found["tasks"], more=True)


def test_the_graph_of_the_pipeline(golden: Golden) -> None:
    golden("graph", graph())


def test_deployments_and_their_flows(golden: Golden) -> None:
    entries = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    found = {}
    for entry in entries:
        flow = deployed_flow(entry["entrypoint"])
        title = f"{flow.name}/{entry['name']}"
        assert title not in found
        known = {key: value for key, value in entry.items() if key not in ("description", "name")}
        found[title] = {**known, "form": form(flow)}
    golden("deployments", found)


def test_automations(golden: Golden) -> None:
    entries = yaml.safe_load((ROOT / "automations.yaml").read_text())["automations"]
    for entry in entries:
        del entry["description"]
        for action in entry["actions"]:
            action.pop("message", None)
    golden("automations", entries)


def test_runs_as_prefect_shows_them(golden: Golden, demo: Demo) -> None:
    golden(
        "prefect_runs",
        {"first": seen_by_prefect(demo.first), "again": seen_by_prefect(demo.again)},
    )


def seen_by_prefect(summary: dict[str, Any]) -> dict[str, Any]:
    """A flow run with its task runs and artifacts, without times."""
    one = FlowRunFilter(id=FlowRunFilterId(any_=[summary["flow_run_id"]]))
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(flow_run_filter=one)
        tasks = client.read_task_runs(flow_run_filter=one, limit=200)
        of_it = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        of_tasks = ArtifactFilter(
            task_run_id=ArtifactFilterTaskRunId(any_=[task.id for task in tasks])
        )
        tab = client.read_artifacts(artifact_filter=of_it, limit=200)
        artifacts = client.read_artifacts(artifact_filter=of_tasks, limit=200)
    names = {task.id: re.sub(r"-[0-9a-f]{3}$", "", task.name) for task in tasks}
    return {
        "name": run.name,
        "parameters": sorted(run.parameters),
        "tasks": {
            names[task.id]: {
                "state": task.state_name,
                "after": sorted(
                    {
                        names[source.id]
                        for role, sources in task.task_inputs.items()
                        for source in sources
                        if source.input_type == "task_run"
                        # Prefect tracks inputs by object identity, so shared values add edges.
                        if role == "wait_for" or not names[source.id].endswith("asking")
                    }
                ),
            }
            for task in tasks
        },
        "tab": sorted(str(artifact.key) for artifact in tab if artifact.type != "progress"),
        "artifacts": {
            str(artifact.key): {"type": artifact.type, "figures": figures(artifact)}
            for artifact in artifacts
            if artifact.type != "progress"  # exists only for slow steps
        },
    }


def figures(artifact: Artifact) -> list[str] | None:
    """The figure names in a table artifact, each once; None for other types."""
    if artifact.type != "table":
        return None
    table: Any = artifact.data
    table = json.loads(table) if isinstance(table, str) else table
    return list(dict.fromkeys(str(row.get("figure", sorted(row))) for row in table))


def test_the_log_has_a_line_an_event(golden: Golden, demo: Demo) -> None:
    found = {}
    for name, summary in (("first", demo.first), ("again", demo.again)):
        run = f"run={summary['flow_run_id']}"
        ours = [line for line in demo.log if run in line]
        found[name] = [re.sub(r"=\S+", "", line) for line in ours]
        assert ours
    golden("log", found)


def test_the_event_of_a_published_catalog(golden: Golden, tmp_path: Path) -> None:
    catalog, profile = tmp_path / "golden.csv", tmp_path / "golden.toml"
    profile.write_text(PROFILE)
    words = ("catalog", "publish", catalog, "--name", "golden", "--profile", profile)
    answers = []
    with events_of_catalogs() as events:
        for titles in (["Heat,1995", "Alien,1979"], ["Heat,1995", "Aliens,1986", "Ran,1985"]):
            catalog.write_text("\n".join(["title,year", *titles, ""]))
            answers.append(convrec(*words, "--yes", "--json", "-", home=tmp_path / "home").json)
    sent = [
        {
            "event": event["event"],
            "resource": event["resource"],
            "payload": {k: v for k, v in event["payload"].items() if k != "profiles"},
            "keys": shape(event["payload"]),
        }
        for event in events
    ]
    assert events[0]["payload"]["profiles"] == [str(profile)]
    assert [answer["announced"] for answer in answers] == [True, True]
    golden("catalog_events", sent)
