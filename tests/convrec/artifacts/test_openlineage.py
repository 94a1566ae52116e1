"""OpenLineage events of a run, read back as the classes of the standard's own client."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.artifacts.openlineage import SETTING
from convrec.artifacts.runs import (
    COMPLETED,
    RunArtifact,
    add_run_artifact,
    finish_run,
    list_runs,
    start_run,
)
from tests.support.served_checkpoint import ITEMS, put_served_checkpoint

facets = pytest.importorskip("openlineage.client.facet_v2")
events = pytest.importorskip("openlineage.client.event_v2")

RUN = str(uuid.UUID(int=7))
HEADER = {"producer", "schemaURL", "eventTime", "eventType"}
FACETS = {
    "parent": lambda: facets.parent_run.ParentRunFacet,
    "processing_engine": lambda: facets.processing_engine_run.ProcessingEngineRunFacet,
    "tags": lambda: facets.tags_run.TagsRunFacet,
    "errorMessage": lambda: facets.error_message_run.ErrorMessageRunFacet,
    "jobType": lambda: facets.job_type_job.JobTypeJobFacet,
    "schema": lambda: facets.schema_dataset.SchemaDatasetFacet,
    "version": lambda: facets.dataset_version_dataset.DatasetVersionDatasetFacet,
    "outputStatistics": (
        lambda: facets.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    ),
}
"""Facet → its class, which knows its schema and its fields."""


def _record_run(store: Store, outcome: str = COMPLETED) -> None:
    checkpoint = put_served_checkpoint(store)
    parents = store.header(checkpoint).parents
    start_run(store, RUN, flow="pipeline", profile="films", overrides={}, config={})
    for node, artifact in (*parents.items(), ("checkpoint_sft", checkpoint)):
        state = "cached" if node == "catalog" else "completed"
        add_run_artifact(store, RUN, RunArtifact(node, artifact, state, 1.5))
    finish_run(store, RUN, outcome)


def _check_facets(found: dict[str, Any]) -> None:
    """Each facet has the fields of its class and names the class's schema."""
    for name, facet in found.items():
        kind = FACETS[name]()
        assert facet["_schemaURL"] == kind._get_schema()
        assert facet["_producer"].startswith("https://")
        known = {field.name for field in kind.__attrs_attrs__}
        assert facet.keys() <= known | {"_schemaURL", "_producer"}


def _check_event(event: dict[str, Any]) -> None:
    """An event is one that the client's classes accept."""
    assert event.keys() >= HEADER
    assert event["schemaURL"] == events.RunEvent._get_schema()
    run, job = event["run"], event["job"]
    events.RunEvent(
        eventTime=event["eventTime"],
        eventType=events.RunState(event["eventType"]),
        run=events.Run(run["runId"]),
        job=events.Job(job["namespace"], job["name"]),
    )
    _check_facets(run["facets"])
    _check_facets(job["facets"])
    for dataset in event["inputs"] + event["outputs"]:
        assert dataset["namespace"]
        assert dataset["name"]
        _check_facets(dataset["facets"])
        _check_facets(dataset.get("outputFacets", {}))


@pytest.fixture
def sent(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The events of a run that completes."""
    file = tmp_path / "events.jsonl"
    monkeypatch.setenv(SETTING, str(file))
    _record_run(store)
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_all_events_follow_the_standard(sent: list[dict[str, Any]]) -> None:
    assert len(sent) == 8
    for event in sent:
        _check_event(event)
    first, last = sent[0], sent[-1]
    assert (first["eventType"], last["eventType"]) == ("START", "COMPLETE")
    assert first["run"]["runId"] == last["run"]["runId"] == RUN
    assert first["job"]["name"] == "pipeline.films"
    kinds = [(event["run"]["runId"], event["eventType"]) for event in sent]
    assert len(set(kinds)) == len(kinds)
    assert {kind for _, kind in kinds} == {"START", "COMPLETE"}


def test_an_artifact_has_parents_columns_and_rows(sent: list[dict[str, Any]]) -> None:
    by_job = {event["job"]["name"]: event for event in sent if event["eventType"] == "COMPLETE"}
    catalog, checkpoint = (
        by_job[f"pipeline.films.{node}"] for node in ("ingest.catalog", "sft.checkpoint_sft")
    )
    (output,) = catalog["outputs"]
    assert (output["namespace"], output["name"]) == ("convrec", "films.catalog")
    columns = [field["name"] for field in output["facets"]["schema"]["fields"]]
    assert columns[:3] == ["item_id", "title", "year"]
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == len(ITEMS)
    assert output["facets"]["version"]["datasetVersion"].startswith("catalog-")
    assert catalog["run"]["facets"]["tags"]["tags"][0]["value"] == "cached"
    names = {dataset["name"] for dataset in checkpoint["inputs"]}
    assert names == {"films.catalog", "films.conversations"}
    versions = {d["facets"]["version"]["datasetVersion"] for d in checkpoint["inputs"]}
    assert output["facets"]["version"]["datasetVersion"] in versions
    above = checkpoint["run"]["facets"]["parent"]
    assert above["run"]["runId"] == RUN
    assert (above["job"]["namespace"], above["job"]["name"]) == ("convrec", "pipeline.films")


def test_events_have_no_text_of_users(sent: list[dict[str, Any]]) -> None:
    text = json.dumps(sent)
    assert "Blade Runner" not in text
    assert "want more like it" not in text


@pytest.mark.parametrize(
    ("outcome", "kind"), [("InputError", "FAIL"), ("KeyboardInterrupt", "ABORT")]
)
def test_a_run_that_fails_says_so(
    outcome: str, kind: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "events.jsonl"
    monkeypatch.setenv(SETTING, str(file))
    _record_run(store, outcome)
    last = json.loads(file.read_text().splitlines()[-1])
    _check_event(last)
    assert last["eventType"] == kind
    assert last["run"]["facets"]["errorMessage"]["message"] == outcome


class Collector(BaseHTTPRequestHandler):
    """Collects what a server of lineage gets."""

    got: list[tuple[str, str | None, dict[str, Any]]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.got.append((self.path, self.headers.get("authorization"), body))
        self.send_response(201)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Collector.got.clear()
    http = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def test_a_server_gets_the_events(
    server: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, f"{server}/lineage")
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "secret")
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "team")
    _record_run(store)
    assert len(Collector.got) == 8
    assert {(path, key) for path, key, _ in Collector.got} == {
        ("/lineage/api/v1/lineage", "Bearer secret")
    }
    assert {body["job"]["namespace"] for _, _, body in Collector.got} == {"team"}


@pytest.mark.parametrize("sink", ["http://127.0.0.1:9", "/proc/no/events.jsonl"])
def test_a_sink_that_fails_warns_once(
    sink: str, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(SETTING, sink)
    with caplog.at_level(logging.WARNING, "convrec"):
        _record_run(store)
    ours = [r.getMessage() for r in caplog.records if r.name == "convrec"]
    assert len(ours) == 1
    assert ours[0].startswith("this run sends no more OpenLineage events (CONVREC_OPENLINEAGE): ")
    (run,) = list_runs(store)
    assert (run.state, len(run.artifacts)) == (COMPLETED, 3)


def test_without_a_sink_nothing_is_sent(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    monkeypatch.setattr("convrec.artifacts.openlineage._transport", None)
    _record_run(store)
    assert list_runs(store)[0].state == COMPLETED
