from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from convrec.answering import llm_jobs
from convrec.artifacts import Store
from convrec.config import Config, load
from convrec.llm import server
from convrec.llm.ask import ask
from convrec.llm.demo import judge

SMALL = {
    "ingest.contexts": {"train": 6, "validation": 2, "test": 2},
    "list_length": 5,
    "reflect.top": 6,
    "remap.keep": 8,
}


def run(config: Config, store: Store) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for node, job in llm_jobs(config, store):
        fetched = ask(node.step, job, run="r", spent_usd=0.0, progress=lambda *_: None)
        made[node.stage] = fetched, store.put(node.step.spec(job), node.step.build(job))
    return made


@pytest.fixture
def config() -> Iterator[Config]:
    """The demo, with a judge in this process that `scripted` may replace."""
    listener = server.bind(0)
    running = server.server(server.demo_app())
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield load("demo", {**SMALL, "llm.base_url": server.base_url(listener)})
    running.should_exit = True
    thread.join(10)


def scripted(monkeypatch: pytest.MonkeyPatch, first: str, second: str | None) -> None:
    """The judge answers `first`, and a repair with `second`, or properly."""
    proper = judge.answer

    def answer(conversation: str, candidates: str, form: object, rng: Any) -> str:
        scripted_calls.append(candidates)
        if scripted_calls.count(candidates) == 1:
            return first
        return proper(conversation, candidates, form, rng) if second is None else second

    scripted_calls: list[str] = []
    monkeypatch.setattr(judge, "FORGETS", 0.0)
    monkeypatch.setattr(judge, "BREAKS_OFF", 0.0)
    monkeypatch.setattr("convrec.llm.demo.completion.judge.answer", answer)


def test_an_answer_that_cannot_be_used_is_repaired_once(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, "I would rather talk about it.", None)
    fetched, ref = run(config, store)["reflect"]
    contexts = store.read(ref.artifact_id)["context_id"].n_unique()
    assert fetched.sent == 2 * contexts
    assert store.read(ref.artifact_id)["rating"].null_count() == 0
    assert store.failures(ref.artifact_id).is_empty()
    again, same = run(config, store)["reflect"]
    assert (again.sent, same.artifact_id) == (0, ref.artifact_id)


def test_what_stays_unusable_is_recorded_for_good(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, "no", json.dumps({"ratings": [{"candidate": 1, "rating": 9}]}))
    _, ref = run(config, store)["reflect"]
    rows = store.read(ref.artifact_id)
    assert rows["rating"].null_count() == rows.height
    failures = store.failures(ref.artifact_id)
    assert failures["final"].all()
    assert failures["reason"].str.contains("rating 9 is not between").all()
    assert not ref.partial
    kept = rows.filter(pl.col("score").is_not_null())
    assert kept.height == rows.height
    assert run(config, store)["reflect"][0].sent == 0
