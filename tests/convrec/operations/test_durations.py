"""Durations of a plan: measured where this warehouse has runs, else assumed; and its warnings."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.artifacts.frames import artifact_frame
from convrec.artifacts.identity import ArtifactSpec
from convrec.artifacts.step_result import StepResult
from convrec.config import Config, load
from convrec.operations.durations import (
    Duration,
    base_parameters,
    estimate_durations,
    format_seconds,
)
from convrec.operations.feasibility import plan_warnings

COSTS = {"prompt_tokens": 1000, "completion_tokens": 6000, "usd_low": 0.1, "usd_high": 0.2}


def plan(trained: int, tested: int, requests: int = 0) -> dict[str, Any]:
    kinds = {"sft": "checkpoint", "rank_grpo": "checkpoint", "evaluate": "generations"}
    stages = [
        {"stage": stage, "kind": kind, "state": "would_run", "contexts": contexts}
        for (stage, kind), contexts in zip(kinds.items(), (trained, trained, tested), strict=True)
    ]
    return {"stages": stages, "llm": {"teacher": {"requests": requests, **COSTS}}}


def parts(store: Store, config: Config, **sizes: int) -> dict[str, Duration]:
    found = estimate_durations(plan(**sizes), config, store)
    return {part.part: part for part in found}


def put_checkpoint(store: Store, config: Config, stage: str, steps: int, seconds: float) -> None:
    spec = ArtifactSpec(
        kind="checkpoint", stage=stage, version=1, config=config.model_dump(mode="json")
    )
    figures: dict[str, float | int | str] = {"steps": steps, "parameters": 1_000_000}
    rows = artifact_frame("checkpoint", [{"manifest": "{}"}])
    scratch = store.make_scratch_folder()
    (scratch / "model").write_text("weights")
    store.put(spec, StepResult(rows, figures), seconds=seconds, scratch=scratch)


def test_a_training_is_measured_by_an_earlier_one(store: Store) -> None:
    config = load("demo", {"sft.batch_size": 8, "sft.epochs": 1, "sft.steps": 0})
    assert "assumed" in parts(store, config, trained=800, tested=0)["sft"].basis
    put_checkpoint(store, config, "sft", steps=50, seconds=25.0)
    found = parts(store, config, trained=800, tested=0)
    assert found["sft"].seconds == pytest.approx(100 * 0.5)
    assert found["sft"].basis == "measured here, 100 steps of 0.5 s"
    doubled = load("demo", {"sft.batch_size": 16, "sft.steps": 10})
    assert parts(store, doubled, trained=800, tested=0)["sft"].seconds == pytest.approx(10 * 1.0)
    larger = load("demo", {"model.base": "some/model-7B"})
    assert "assumed" in parts(store, larger, trained=800, tested=0)["sft"].basis


def test_requests_are_measured_by_the_ledger(store: Store) -> None:
    config = load("reddit-v2", {"llm.endpoint": "mine", "llm.max_concurrency": 4})
    assumed = parts(store, config, trained=0, tested=0, requests=100)["teacher"]
    assert assumed.seconds == pytest.approx(100 * (1 + 60 / 60) / 4)
    start = datetime(2026, 1, 1)
    rows = [(f"k{n}", start + timedelta(seconds=n / 10)) for n in range(101)]
    with store.transaction() as connection:
        connection.executemany(
            "INSERT INTO llm_ledger VALUES (?, 'r', 'recommend', 'mine', 'm', 'live', "
            "1, 0, 1, 0, 0.0, ?)",
            rows,
        )
    measured = parts(store, config, trained=0, tested=0, requests=100)["teacher"]
    assert measured.seconds == pytest.approx(100 / 10.1)
    assert "measured here" in measured.basis


def test_a_rate_limit_and_a_batch_take_their_time(store: Store) -> None:
    limited = load("reddit-v2", {"llm.max_rpm": 10})
    assert parts(store, limited, trained=0, tested=0, requests=100)["teacher"].seconds == 600
    batch = load("reddit-v2", {"recommend.source": "batch"})
    assert parts(store, batch, trained=0, tested=0, requests=1)["teacher"].seconds == 86_400


@pytest.mark.parametrize(
    ("base", "least", "most"),
    [
        ("tiny", 5e5, 2e6),
        ("smollm2", 135e6, 135e6),
        ("Qwen/Qwen2.5-0.5B-Instruct", 4e8, 6e8),
        ("org/model-360M", 360e6, 360e6),
        ("org/llama-3.2-3B-it", 3e9, 3e9),
        ("org/no-size", 0, 0),
    ],
)
def test_the_size_of_a_base_model(base: str, least: float, most: float) -> None:
    assert least <= base_parameters(load("demo", {"model.base": base})) <= most


def test_a_model_of_unknown_size_has_no_duration(store: Store) -> None:
    config = load("demo", {"model.base": "org/no-size"})
    assert parts(store, config, trained=100, tested=100) == {}


def test_what_is_cached_takes_no_time(store: Store) -> None:
    done = plan(100, 100)
    for row in done["stages"]:
        row["state"] = "cached"
    assert estimate_durations(done, load("demo"), store) == []
    assert plan_warnings(done, load("demo"), []) == []


def test_warnings_name_what_cannot_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr("convrec.operations.feasibility.has_gpu", lambda: False)
    days = [Duration("rank_grpo", 9 * 86_400, "assumed")]
    config = load("reddit-v2", {"model.base": "tiny"})
    tiny, intervals, slow, key = plan_warnings(plan(44, 5, requests=60), config, days)
    assert tiny.startswith("44 demonstrations are too few for model.base=tiny")
    assert intervals.startswith("5 test conversations give wide intervals")
    assert slow.startswith("rank_grpo takes about 9 days on")
    assert "`convrec train plan` shows GPUs" in slow
    assert "needs an API key" in key
    pretrained = load("demo", {"model.base": "smollm2"})
    assert plan_warnings(plan(44, 200, requests=60), pretrained, []) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.123, "0.12 s"),
        (42, "42 s"),
        (600, "10 min"),
        (7500, "2 h 5 min"),
        (7200, "2 h"),
        (118_000, "33 h"),
        (800_000, "9 days"),
    ],
)
def test_durations_have_their_largest_units(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
