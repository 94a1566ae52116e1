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

Small = dict[str, Any]
OPENAI = {"remap.similarity": "openai", "remap.model": "demo-embedder"}


def embeddings(home: Path, overrides: Small) -> dict[str, Any]:
    made: dict[str, Any] = make_plan(load("demo", overrides), Store(home))["llm"]["embeddings"]
    return made


def test_embeddings_of_the_endpoint_are_planned_bought_once_and_billed(
    home: Path, small: Small
) -> None:
    asked = {**small, **OPENAI}
    before = embeddings(home, asked)
    pipeline(profile="demo", overrides=asked, until="recommend")
    between = embeddings(home, asked)
    first = pipeline(profile="demo", overrides=asked, until="remap")

    rows = [row for row in ledger_rows(Store(home)) if row["stage"] == "remap"]
    billed = sum(row["usd"] for row in rows)
    assert before["usd_low"] <= billed <= before["usd_high"]
    assert 0.9 * billed <= between["usd_low"] <= billed <= between["usd_high"] <= 1.1 * billed
    assert between["requests"] == sum(row["requests"] for row in rows) >= 2
    assert embeddings(home, asked)["requests"] == 0
    again = pipeline(profile="demo", overrides=asked, until="remap")
    states = [
        {entry["kind"]: entry["state"] for entry in made["stages"]} for made in (first, again)
    ]
    assert [state["candidates"] for state in states] == ["completed", "cached"]
    assert again["llm"]["sent"] == 0
    assert again["llm"]["from_ledger"] == again["llm"]["requests"]


def test_without_embeddings_nothing_is_asked_for_remap(
    home: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(load("demo", small), Store(home))
    assert set(plan["llm"]) == {"teacher", "judge"}
    asked: list[str] = []

    def noted(step: Step, *given: Any, **more: Any) -> FetchResult:
        asked.append(step.kind)
        return fetch_responses(step, *given, **more)

    monkeypatch.setattr("tasks.fetch.fetch_responses", noted)
    pipeline(profile="demo", overrides=small, until="remap")
    assert asked == ["teacher_lists"]
