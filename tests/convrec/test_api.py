"""The Python API: what it makes is what the commands find, and its errors say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import convrec
from convrec.api import Pipeline
from convrec.artifacts.runs import list_runs
from convrec.config import load
from convrec.errors import ConfigError, InputError
from convrec.operations.local_run import LocalRun
from tests.support.tiny_demo import TINY_DEMO


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    home = tmp_path_factory.mktemp("warehouse")
    return Pipeline("demo", TINY_DEMO, warehouse=home).run(until="ingest")


def test_the_package_has_the_pipeline() -> None:
    assert convrec.Pipeline is Pipeline
    with pytest.raises(AttributeError, match="no attribute 'Pipelines'"):
        convrec.Pipelines  # noqa: B018


def test_a_run_makes_what_the_plan_finds(ingested: Pipeline) -> None:
    states = {stage["kind"]: stage["state"] for stage in ingested.plan()["stages"]}
    assert {states[kind] for kind in ("catalog", "conversations", "quarantine")} == {"cached"}
    assert states["teacher_lists"] == "would_run"
    (run,) = list_runs(ingested.store)
    assert (run.flow, run.profile, run.state) == ("python", "demo", "completed")
    made = ingested.artifacts["artifact_id"].to_list()
    assert [used.artifact_id for used in run.artifacts] == made


def test_a_second_run_takes_what_is_stored(ingested: Pipeline) -> None:
    again = Pipeline("demo", TINY_DEMO, warehouse=ingested.store.home).run(until="ingest")
    assert again.artifacts["cached"].all()
    refreshed = again.run(until="ingest", refresh="ingest").artifacts
    assert not refreshed["cached"].any()


def test_an_artifact_is_a_frame(ingested: Pipeline) -> None:
    frame = ingested.frame("conversations", "context_id", "split")
    assert frame.columns == ["context_id", "split"]
    assert frame.height == ingested.figures("conversations")["samples"]
    artifact_id = ingested.artifacts.row(1, named=True)["artifact_id"]
    assert ingested.frame(artifact_id[:-12]).height == frame.height


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda p: p.frame("judgments"), r"judgments is not made yet; call run\(until='reflect'\)"),
        (lambda p: p.run(until="learn"), "'learn' is not a stage; the stages are ingest"),
        (lambda p: p.recommend("Something"), r'no model is trained.*call run\(until="sft"\)'),
    ],
)
def test_what_is_not_there_says_what_to_call(ingested: Pipeline, call: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        call(ingested)


def test_a_failed_run_is_recorded(ingested: Pipeline, tmp_path: Path) -> None:
    config = load("reddit-v2", {"ingest.path": str(tmp_path)})
    with pytest.raises(InputError):
        LocalRun(config, ingested.store).run(until="ingest")
    assert list_runs(ingested.store)[0].state == "InputError"


def test_a_prefect_block_is_refused(ingested: Pipeline) -> None:
    config = load("demo", {"llm.secret": "key"})
    with pytest.raises(ConfigError, match="set OPENAI_API_KEY"):
        LocalRun(config, ingested.store).run(until="ingest")
