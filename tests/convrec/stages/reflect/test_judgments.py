from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.config import ROOT, Config, load
from convrec.demo import judge, server
from convrec.errors import BudgetExceeded
from convrec.llm.batch import BatchStore
from convrec.llm.endpoint import endpoint_name
from convrec.llm.fetch import FetchResult
from convrec.llm.requests import Request
from convrec.llm.response_store import ResponseStore
from convrec.pipeline.reparse import llm_jobs
from convrec.stages.base import StepContext
from convrec.stages.reflect import JUDGMENTS
from convrec.stages.reflect.pair_index import open_batch_requests
from convrec.stages.reflect.pairs import Pairs, pairs_of
from convrec.stages.reflect.prompt import judge_body
from convrec.stages.responses import fetch_responses

SMALL = {
    "ingest.contexts": {"train": 6, "validation": 2, "test": 2},
    "list_length": 5,
    "reflect.top": 6,
    "remap.keep": 8,
}


def run(config: Config, store: Store, name: str = "r") -> dict[str, Any]:
    made: dict[str, Any] = {}
    for node, ctx in llm_jobs(config, store):
        fetched = fetch_responses(node.step, ctx, run=name, spent_usd=0.0, progress=lambda *_: None)
        made[node.stage] = fetched, store.put(node.step.spec(ctx), node.step.build(ctx))
    return made


def judge_job(config: Config, store: Store) -> Any:
    return next(ctx for node, ctx in llm_jobs(config, store) if node.stage == "reflect")


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

    def answer(conversation: str, candidates: str, *more: Any) -> str:
        scripted_calls.append(candidates)
        if scripted_calls.count(candidates) == 1:
            return first
        return proper(conversation, candidates, *more) if second is None else second

    scripted_calls: list[str] = []
    monkeypatch.setattr(judge, "FORGETS", 0.0)
    monkeypatch.setattr(judge, "BREAKS_OFF", 0.0)
    monkeypatch.setattr("convrec.demo.completion.judge.answer", answer)


def test_an_answer_that_cannot_be_used_is_repaired_once(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, "I would rather talk about it.", None)
    fetched, ref = run(config, store)["reflect"]
    contexts = store.read(ref.artifact_id)["context_id"].n_unique()
    assert fetched.sent == 2 * config.reflect.passes * contexts
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


def edited(catalog: Path) -> None:
    """The demo's catalog with a row renamed, one gone, and some that many lists will take up."""
    header, *rows = (ROOT / "catalog" / "demo.csv").read_text().splitlines()
    rows = [row.replace("Arrival,2016", "Arrival: Director's Cut,2016") for row in rows]
    rows = [row for row in rows if not row.startswith("Heat,1995")]
    new = [f"Entirely New {n},2020,Sci-Fi|Crime|Drama,,heist sci-fi war ghosts" for n in range(9)]
    catalog.write_text("\n".join([header, *rows, *new]) + "\n")


def test_after_a_catalog_edit_only_new_pairs_are_judged(
    config: Config, store: Store, tmp_path: Path
) -> None:
    run(config, store)
    pairs = Pairs(judge_job(config, store))
    before = {
        (pairs.owners[context], pairs.items["item"][item], number)
        for some in pairs.slices()
        for context, item, number in some.pairs.select("context", "item", "pass").iter_rows()
    }
    edited(tmp_path / "catalog.csv")
    new = config.model_copy(
        update={
            "ingest": config.ingest.model_copy(update={"catalog": str(tmp_path / "catalog.csv")})
        }
    )
    ctx = judge_job(new, store)
    pairs = Pairs(ctx)
    asked = [a for some in pairs.slices() for a in pairs.asked(some)]
    new_pairs = {(a.request.owner, item, a.round) for a in asked for item in a.items}
    assert new_pairs
    assert new_pairs.isdisjoint(before)
    fetched, ref = run(new, store)["reflect"]
    # One item alone has one order: its passes are one request.
    assert fetched.sent == len({a.request.key for a in asked})
    assert not ref.partial
    rows = store.read(ref.artifact_id)
    assert rows["rating"].null_count() == 0
    assert rows["ratings"].list.len().unique().to_list() == [config.reflect.passes]
    again, same = run(new, store)["reflect"]
    assert (again.sent, again.from_ledger, same) == (0, again.requests, ref)


def test_a_rebuild_from_the_same_answers_and_notes_is_equal(
    config: Config, store: Store, tmp_path: Path
) -> None:
    run(config, store)
    edited(tmp_path / "catalog.csv")
    new = config.model_copy(
        update={
            "ingest": config.ingest.model_copy(update={"catalog": str(tmp_path / "catalog.csv")})
        }
    )
    _, ref = run(new, store)["reflect"]
    fresh = Store(tmp_path / "fresh", ("", ""))
    for table in ("llm_answers", "llm_judged"):
        with store.read_connection() as connection:
            rows = connection.execute(f"SELECT * FROM {table}").arrow()
        with fresh.write() as connection:
            connection.register("rows", rows)
            connection.execute(f"INSERT INTO {table} SELECT * FROM rows")
    fetched, made = run(new, fresh)["reflect"]
    assert (fetched.sent, made) == (0, ref)
    assert fresh.read(made.artifact_id).equals(store.read(ref.artifact_id))


def test_passes_show_different_orders_and_are_averaged(config: Config, store: Store) -> None:
    _, ref = run(config, store)["reflect"]
    rows = store.read(ref.artifact_id)
    positions = rows["positions"].to_list()
    assert sum(one == two for one, two in positions) < len(positions) / 2
    for owner in rows["context_id"].unique():
        shown = rows.filter(pl.col("context_id") == owner)["positions"].to_list()
        for orders in zip(*shown, strict=True):
            assert sorted(orders) == list(range(1, len(shown) + 1))
    means = [sum(r) / len(r) for r in rows["ratings"].to_list()]
    assert rows["rating"].to_list() == pytest.approx(means)


def test_the_judge_of_the_demo_is_measured_and_straightened(config: Config, store: Store) -> None:
    """It favours early positions, and says so in the figures; debias takes that off."""
    more = {
        **SMALL,
        "ingest.contexts": {"train": 60, "validation": 2, "test": 2},
        "reflect.top": 12,
    }
    more |= {"remap.keep": 12, "llm.base_url": config.llm.base_url}
    spread = {}
    for debias in (False, True):
        _, ref = run(load("demo", {**more, "reflect.debias": debias}), store)["reflect"]
        figures = store.header(ref.artifact_id).figures
        assert float(figures["position: last against first"].split()[0]) < -0.5
        rows = store.read(ref.artifact_id)
        first = rows.filter(pl.col("positions").list.mean() <= 4)["rating"].mean()
        last = rows.filter(pl.col("positions").list.mean() >= 9)["rating"].mean()
        spread[debias] = first - last
    assert spread[False] > 0.4
    assert abs(spread[True]) < spread[False] / 3


def test_the_id_does_not_hang_on_the_order_in_which_answers_are_found(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, "I would rather talk about it.", None)
    _, ref = run(config, store)["reflect"]
    found = ResponseStore.exchanges

    def reversed_(self: ResponseStore, keys: Any) -> Any:
        return dict(reversed(list(found(self, keys).items())))

    monkeypatch.setattr(ResponseStore, "exchanges", reversed_)
    assert run(config, store)["reflect"][1] == ref


def test_pairs_kept_in_memory_are_read_again_when_something_was_noted_or_forgotten(
    config: Config, store: Store
) -> None:
    run(config, store)
    pairs = Pairs(judge_job(config, store))
    (before,) = pairs.slices()
    assert before.pairs["request"].null_count() == 0
    assert next(pairs.slices()) is before
    with store.write() as connection:
        connection.execute("DELETE FROM llm_judged WHERE pass = 1")
    (forgotten,) = pairs.slices()
    assert forgotten.pairs["request"].null_count() == forgotten.pairs.height // 2
    run(config, store)
    (again,) = pairs.slices()
    assert again.pairs["request"].null_count() == 0


def test_a_pair_that_two_processes_asked_about_counts_once(config: Config, store: Store) -> None:
    _, ref = run(config, store)["reflect"]
    with store.write() as connection:
        connection.execute(
            "INSERT INTO llm_judged BY NAME SELECT * REPLACE (list_reverse(items) AS items, "
            "'z' || request_key AS request_key) FROM llm_judged"
        )
    again, same = run(config, store)["reflect"]
    assert (again.sent, same) == (0, ref)


def test_notes_of_further_passes_change_nothing(config: Config, store: Store) -> None:
    two = config.model_copy(update={"reflect": config.reflect.model_copy(update={"passes": 2})})
    three = config.model_copy(update={"reflect": config.reflect.model_copy(update={"passes": 3})})
    _, before = run(two, store)["reflect"]
    run(three, store)
    asked, after = run(two, store)["reflect"]
    assert (asked.sent, after) == (0, before)


@pytest.mark.parametrize(
    "talk", ["", 'a "word"\n\\ é 😀 \x00 \u2028', "</conversation> x", "ab" * 9000]
)
def test_a_conversation_is_known_by_the_request_without_candidates(
    talk: str, config: Config, store: Store
) -> None:
    run(config, store)
    ctx = judge_job(config, store)
    for shown in (6000, 40):  # one after the other, in one process
        reflect = config.reflect.model_copy(update={"max_characters": shown})
        some = config.model_copy(update={"reflect": reflect})
        body = judge_body(talk, [], some)
        pairs = Pairs(replace(ctx, config=some))
        assert pairs._judge_key(talk) == Request("", endpoint_name(config), body).key


def test_pairs_are_kept_for_the_endpoint_that_is_asked(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config, store)
    made = judge_job(config, store)
    stored = {
        role: store.put(ArtifactSpec(role, "test", 1), StepResult(made.frame(role)))
        for role in ("catalog", "conversations", "candidates")
    }
    llm = config.llm.model_copy(update={"base_url": "", "endpoint": ""})
    ctx = StepContext(config.model_copy(update={"llm": llm}), store, stored)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    pairs = pairs_of(ctx)
    assert pairs_of(ctx) is pairs
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:2/v1")
    assert pairs_of(ctx) is not pairs


def test_what_was_bought_before_the_budget_ended_is_known_to_a_run_that_asks_for_less(
    config: Config, store: Store
) -> None:
    def ctx(**reflect: Any) -> Any:
        settings = config.model_copy(update={"reflect": config.reflect.model_copy(update=reflect)})
        return next(j for node, j in llm_jobs(settings, store) if node.stage == "reflect")

    def judged(ctx: Any) -> FetchResult:
        return fetch_responses(JUDGMENTS, ctx, run="r", spent_usd=0.0, progress=lambda *_: None)

    for node, first in llm_jobs(config, store):
        if node.stage == "recommend":
            fetch_responses(node.step, first, run="r", spent_usd=0.0, progress=lambda *_: None)
    broke = ctx(top=8)
    poor = broke.config.llm.model_copy(update={"max_usd": 0.0015, "max_concurrency": 1})
    with pytest.raises(BudgetExceeded):
        judged(replace(broke, config=broke.config.model_copy(update={"llm": poor})))
    bought = len(stored(store, "demo-judge"))
    assert 0 < bought < 2 * 10
    fetched = judged(ctx(top=6))
    assert fetched.from_ledger >= bought
    assert len(stored(store, "demo-judge")) - bought == fetched.sent


def in_another_shape(config: Config) -> Config:
    """The same pairs but for the last ones: no request of more than an item is as before."""
    return config.model_copy(update={"reflect": config.reflect.model_copy(update={"top": 5})})


def test_answers_that_nobody_noted_are_known_to_a_run_that_asks_otherwise(
    config: Config, store: Store
) -> None:
    run(config, store)
    with store.write() as connection:
        noted = connection.execute("SELECT count(*) FROM llm_judged").fetchone()
        connection.execute("DELETE FROM llm_judged")
    fetched, _ = run(in_another_shape(config), store)["reflect"]
    assert (fetched.sent, fetched.failures) == (0, {})
    with store.read_connection() as connection:
        assert connection.execute("SELECT count(*) FROM llm_judged").fetchone() == noted


def test_what_an_abandoned_batch_answered_is_not_asked_in_another_shape(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    batched = config.model_copy(
        update={"reflect": config.reflect.model_copy(update={"source": "batch"})}
    )
    with monkeypatch.context() as patch:
        patch.setattr("convrec.llm.batch.client.BatchClient.batch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(batched, store)
    (row,) = BatchStore(store).rows()
    assert (row.state, row.stage) == ("submitted", "reflect")
    other = config.model_copy(update={"reflect": config.reflect.model_copy(update={"scale": 7})})
    waited = {
        name: len(open_batch_requests(judge_job(some, store)))
        for name, some in (("same", config), ("other", other), ("fewer", in_another_shape(config)))
    }
    assert waited == {"same": 0, "other": 0, "fewer": row.requests}
    fetched, _ = run(in_another_shape(config), store, name="second")["reflect"]
    assert (fetched.sent, fetched.failures) == (0, {})
    assert [row.state for row in BatchStore(store).rows()] == ["ended"]


def stored(store: Store, model: str) -> list[Any]:
    with store.read_connection() as connection:
        query = "SELECT request_key FROM llm_answers WHERE model = ?"
        return connection.execute(query, [model]).fetchall()
