from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.config import load
from convrec.llm.fetch import FetchResult
from convrec.llm.ledger import ledger_rows
from convrec.pipeline.plan import make_plan
from convrec.stages.base import Step
from convrec.stages.responses import fetch_responses
from flows.pipeline import pipeline
from tests.support.summaries import states_by_kind


@pytest.fixture
def small(small: dict[str, Any]) -> dict[str, Any]:
    """Without descriptions, which would ask for more."""
    return {**small, "remap.describe": "off"}


Small = dict[str, Any]
OPENAI = {"remap.similarity": "openai", "remap.model": "demo-embedder"}


def planned_embeddings(home: Path, overrides: Small) -> dict[str, Any]:
    plan = make_plan(load("demo", overrides), Store(home))
    embeddings: dict[str, Any] = plan["llm"]["embeddings"]
    return embeddings


def test_embeddings_are_planned_bought_once_and_billed(home: Path, small: Small) -> None:
    overrides = {**small, **OPENAI}
    before = planned_embeddings(home, overrides)
    pipeline(profile="demo", overrides=overrides, until="recommend")
    between = planned_embeddings(home, overrides)
    first = pipeline(profile="demo", overrides=overrides, until="remap")

    rows = [row for row in ledger_rows(Store(home)) if row["stage"] == "remap"]
    billed = sum(row["usd"] for row in rows)
    assert before["usd_low"] <= billed <= before["usd_high"]
    assert 0.9 * billed <= between["usd_low"] <= billed <= between["usd_high"] <= 1.1 * billed
    assert between["requests"] == sum(row["requests"] for row in rows) >= 2
    assert planned_embeddings(home, overrides)["requests"] == 0
    again = pipeline(profile="demo", overrides=overrides, until="remap")
    states = [states_by_kind(summary)["candidates"] for summary in (first, again)]
    assert states == [{"completed"}, {"cached"}]
    assert again["llm"]["sent"] == 0
    assert again["llm"]["from_ledger"] == again["llm"]["requests"]


def test_remap_without_embeddings_fetches_nothing(
    home: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(load("demo", small), Store(home))
    assert set(plan["llm"]) == {"teacher", "judge"}
    fetched: list[str] = []

    def recording(step: Step, *args: Any, **options: Any) -> FetchResult:
        fetched.append(step.kind)
        return fetch_responses(step, *args, **options)

    monkeypatch.setattr("tasks.fetch.fetch_responses", recording)
    pipeline(profile="demo", overrides=small, until="remap")
    assert fetched == ["teacher_lists"]
