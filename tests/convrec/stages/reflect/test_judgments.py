from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.artifacts.tables import KINDS
from convrec.config import ROOT, Config, load
from convrec.demo import judge, ratings, server
from convrec.errors import BudgetExceeded, ConfigError
from convrec.llm.batch import BatchStore
from convrec.llm.endpoint import endpoint_name
from convrec.llm.fetch import FetchResult
from convrec.llm.requests import Request
from convrec.llm.response_store import ResponseStore
from convrec.pipeline.reparse import response_nodes
from convrec.stages import partitions
from convrec.stages.base import StepContext
from convrec.stages.reflect import JUDGMENTS, judgments
from convrec.stages.reflect.judge_responses import JudgeResponses
from convrec.stages.reflect.pairs import Pairs, cached_pairs
from convrec.stages.reflect.prompt import judge_body
from convrec.stages.responses import fetch_responses

pytestmark = pytest.mark.on_ducklake

SMALL = {
    "ingest.contexts": {"train": 6, "validation": 2, "test": 2},
    "list_length": 5,
    "reflect.top": 6,
    "remap.keep": 8,
    "remap.describe": "off",
}


def run(config: Config, store: Store, name: str = "r") -> dict[str, Any]:
    """Run the pipeline up to the judge: stage → (FetchResult, ArtifactRef)."""
    results: dict[str, Any] = {}
    for node, _, ctx in response_nodes(config, store):
        fetched = fetch_responses(node.step, ctx, run=name, spent_usd=0.0, progress=lambda *_: None)
        results[node.stage] = fetched, store.put(node.step.spec(ctx), node.step.build(ctx))
    return results


def judge_ctx(config: Config, store: Store) -> Any:
    return next(ctx for node, _, ctx in response_nodes(config, store) if node.stage == "reflect")


@pytest.fixture
def config() -> Iterator[Config]:
    """The demo, with a judge in this process that `script_judge` may replace."""
    listener = server.bind(0)
    running = server.create_server(server.demo_app())
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield load("demo", {**SMALL, "llm.base_url": server.base_url(listener)})
    running.should_exit = True
    thread.join(10)


def script_judge(monkeypatch: pytest.MonkeyPatch, first: str, second: str | None) -> None:
    """The judge answers `first`, and to a repair `second`, or correctly if that is None."""
    correct = judge.respond

    def answer(conversation: str, candidates: str, *more: Any) -> str:
        calls.append(candidates)
        if calls.count(candidates) == 1:
            return first
        return correct(conversation, candidates, *more) if second is None else second

    calls: list[str] = []
    monkeypatch.setattr(ratings, "SKIP", 0.0)
    monkeypatch.setattr(ratings, "TRUNCATE", 0.0)
    monkeypatch.setattr("convrec.demo.completion.judge.respond", answer)


def test_an_unusable_response_is_repaired_once(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_judge(monkeypatch, "I would rather talk about it.", None)
    fetched, ref = run(config, store)["reflect"]
    contexts = store.read(ref.artifact_id)["context_id"].n_unique()
    assert fetched.sent == 2 * config.reflect.passes * contexts
    assert store.read(ref.artifact_id)["rating"].null_count() == 0
    assert store.failures(ref.artifact_id).is_empty()
    again, same = run(config, store)["reflect"]
    assert (again.sent, same.artifact_id) == (0, ref.artifact_id)


def test_an_unusable_repair_is_a_final_failure(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_judge(monkeypatch, "no", json.dumps({"ratings": [{"candidate": 1, "rating": 9}]}))
    llm = config.llm.model_copy(update={"max_failures": 1.0})
    config = config.model_copy(update={"llm": llm})
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


def test_the_judge_may_see_descriptions(config: Config, store: Store) -> None:
    overrides = {**SMALL, "llm.base_url": config.llm.base_url, "remap.describe": "all"}
    plain = load("demo", overrides)
    described = load("demo", {**overrides, "reflect.describe": True})
    first, before = run(plain, store)["reflect"]
    again, after = run(described, store)["reflect"]
    assert min(first.sent, again.sent) >= 2 * 10  # another line is another pair
    assert before.artifact_id != after.artifact_id
    items = Pairs(judge_ctx(described, store)).items
    heat = items.filter(pl.col("item_id") == "Heat (1995)")["item"][0]
    assert heat.startswith("Heat (1995): ")
    assert "story" in heat
    assert "\n" not in heat
    assert store.read(after.artifact_id)["rating"].null_count() == 0
    assert run(described, store)["reflect"][0].sent == 0


def test_a_judge_cannot_see_what_is_not_made() -> None:
    with pytest.raises(ConfigError, match=r"reflect\.describe=true shows the judge descriptions"):
        load("demo", {"remap.describe": "off", "reflect.describe": True})


def edited(catalog: Path) -> None:
    """The demo catalog with a row renamed, one removed, and some that many lists will contain."""
    header, *rows = (ROOT / "catalog" / "demo.csv").read_text().splitlines()
    rows = [row.replace("Arrival,2016", "Arrival: Director's Cut,2016") for row in rows]
    rows = [row for row in rows if not row.startswith("Heat,1995")]
    new = [
        f"Entirely New {n},2020,Sci-Fi|Crime|Drama,,heist sci-fi war ghosts,,," for n in range(9)
    ]
    catalog.write_text("\n".join([header, *rows, *new]) + "\n")


def test_a_catalog_edit_requests_only_new_pairs(
    config: Config, store: Store, tmp_path: Path
) -> None:
    run(config, store)
    pairs = Pairs(judge_ctx(config, store))
    before = {
        (pairs.context_ids[context], pairs.items["item"][item], number)
        for some in pairs.slices()
        for context, item, number in some.pairs.select("context", "item", "pass").iter_rows()
    }
    edited(tmp_path / "catalog.csv")
    new = config.model_copy(
        update={
            "ingest": config.ingest.model_copy(update={"catalog": str(tmp_path / "catalog.csv")})
        }
    )
    ctx = judge_ctx(new, store)
    pairs = Pairs(ctx)
    asked = [a for some in pairs.slices() for a in pairs.missing_requests(some)]
    new_pairs = {(a.request.owner, item, a.pass_number) for a in asked for item in a.items}
    assert new_pairs
    assert new_pairs.isdisjoint(before)
    fetched, ref = run(new, store)["reflect"]
    # A single item has one order, so its passes are one request.
    assert fetched.sent == len({a.request.key for a in asked})
    assert not ref.partial
    rows = store.read(ref.artifact_id)
    assert rows["rating"].null_count() == 0
    assert rows["ratings"].list.len().unique().to_list() == [config.reflect.passes]
    again, same = run(new, store)["reflect"]
    assert (again.sent, again.from_ledger, same) == (0, again.requests, ref)


def test_a_rebuild_from_the_same_responses_is_equal(
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
        with fresh.transaction() as connection:
            connection.register("rows", rows)
            connection.execute(f"INSERT INTO {table} SELECT * FROM rows")
    fetched, same = run(new, fresh)["reflect"]
    assert (fetched.sent, same) == (0, ref)
    assert fresh.read(same.artifact_id).equals(store.read(ref.artifact_id))


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


def test_position_bias_of_the_demo_judge_is_corrected(config: Config, store: Store) -> None:
    """It favors early positions: the figures show it, and `reflect.debias` subtracts it."""
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


@pytest.mark.parametrize("debias", [False, True])
def test_the_number_of_partitions_changes_no_row(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch, debias: bool
) -> None:
    reflect = config.reflect.model_copy(update={"debias": debias})
    runner = config.runner.model_copy(update={"partitions": 3})
    config = config.model_copy(update={"reflect": reflect, "runner": runner})
    llm = config.llm.model_copy(update={"max_failures": 1.0})
    config = config.model_copy(update={"llm": llm})
    monkeypatch.setattr(ratings, "SKIP", 0.3)  # answers without ratings, some repaired
    for node, _, ctx in response_nodes(config, store):
        fetch_responses(node.step, ctx, run="r", spent_usd=0.0, progress=lambda *_: None)
        if node.stage != "reflect":
            store.put(node.step.spec(ctx), node.step.build(ctx))
    ctx = judge_ctx(config, store)
    whole = JUDGMENTS.build(ctx)
    monkeypatch.setattr(partitions, "CHUNK", 2)
    monkeypatch.setattr(judgments, "SLICE_CONTEXTS", 2)
    parts = JUDGMENTS.build(ctx)
    assert len(parts.output.files) == 3
    columns = list(KINDS["judgments"])
    assert_frame_equal(parts.rows.select(columns), whole.rows.select(columns), abs_tol=1e-12)
    assert parts.figures == whole.figures
    assert parts.failures.equals(whole.failures)


def test_the_id_does_not_depend_on_the_order_of_responses(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_judge(monkeypatch, "I would rather talk about it.", None)
    _, ref = run(config, store)["reflect"]
    found = ResponseStore.exchanges

    def reversed_(self: ResponseStore, keys: Any) -> Any:
        return dict(reversed(list(found(self, keys).items())))

    monkeypatch.setattr(ResponseStore, "exchanges", reversed_)
    assert run(config, store)["reflect"][1] == ref


def test_cached_pairs_are_reread_after_a_change_of_the_index(config: Config, store: Store) -> None:
    run(config, store)
    pairs = Pairs(judge_ctx(config, store))
    (before,) = pairs.slices()
    assert before.pairs["request"].null_count() == 0
    assert next(pairs.slices()) is before
    with store.transaction() as connection:
        connection.execute("DELETE FROM llm_judged WHERE pass = 1")
    (forgotten,) = pairs.slices()
    assert forgotten.pairs["request"].null_count() == forgotten.pairs.height // 2
    run(config, store)
    (again,) = pairs.slices()
    assert again.pairs["request"].null_count() == 0


def test_a_pair_requested_by_two_processes_counts_once(config: Config, store: Store) -> None:
    _, ref = run(config, store)["reflect"]
    with store.transaction() as connection:
        connection.execute(
            "INSERT INTO llm_judged BY NAME SELECT * REPLACE (list_reverse(items) AS items, "
            "'z' || request_key AS request_key) FROM llm_judged"
        )
    again, same = run(config, store)["reflect"]
    assert (again.sent, same) == (0, ref)


def test_indexed_pairs_of_further_passes_change_nothing(config: Config, store: Store) -> None:
    two = config.model_copy(update={"reflect": config.reflect.model_copy(update={"passes": 2})})
    three = config.model_copy(update={"reflect": config.reflect.model_copy(update={"passes": 3})})
    _, before = run(two, store)["reflect"]
    run(three, store)
    asked, after = run(two, store)["reflect"]
    assert (asked.sent, after) == (0, before)


@pytest.mark.parametrize(
    "talk", ["", 'a "word"\n\\ é 😀 \x00 \u2028', "</conversation> x", "ab" * 9000]
)
def test_judge_key_is_the_key_without_candidates(talk: str, config: Config, store: Store) -> None:
    run(config, store)
    ctx = judge_ctx(config, store)
    for shown in (6000, 40):  # one after the other, in one process
        reflect = config.reflect.model_copy(update={"max_characters": shown})
        some = config.model_copy(update={"reflect": reflect})
        body = judge_body(talk, [], some)
        pairs = Pairs(replace(ctx, config=some))
        assert pairs.judge_key(talk) == Request("", endpoint_name(config), body).key


def test_pairs_are_cached_by_endpoint(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config, store)
    in_memory = judge_ctx(config, store)
    stored = {
        role: store.put(ArtifactSpec(role, "test", 1), StepResult(in_memory.frame(role)))
        for role in ("catalog", "conversations", "candidates")
    }
    llm = config.llm.model_copy(update={"base_url": "", "endpoint": ""})
    ctx = StepContext(config.model_copy(update={"llm": llm}), store, stored)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    pairs = cached_pairs(ctx)
    assert cached_pairs(ctx) is pairs
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:2/v1")
    assert cached_pairs(ctx) is not pairs


def test_a_smaller_run_uses_responses_of_a_stopped_one(config: Config, store: Store) -> None:
    def ctx(**reflect: Any) -> Any:
        settings = config.model_copy(update={"reflect": config.reflect.model_copy(update=reflect)})
        return next(j for node, _, j in response_nodes(settings, store) if node.stage == "reflect")

    def judged(ctx: Any) -> FetchResult:
        return fetch_responses(JUDGMENTS, ctx, run="r", spent_usd=0.0, progress=lambda *_: None)

    for node, _, first in response_nodes(config, store):
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


def with_other_groups(config: Config) -> Config:
    """The same pairs without the last ones, so that no request of several items is the same."""
    return config.model_copy(update={"reflect": config.reflect.model_copy(update={"top": 5})})


def test_unindexed_responses_are_used_by_other_groups(config: Config, store: Store) -> None:
    run(config, store)
    with store.transaction() as connection:
        noted = connection.execute("SELECT count(*) FROM llm_judged").fetchone()
        connection.execute("DELETE FROM llm_judged")
    fetched, _ = run(with_other_groups(config), store)["reflect"]
    assert (fetched.sent, fetched.failures) == (0, {})
    with store.read_connection() as connection:
        assert connection.execute("SELECT count(*) FROM llm_judged").fetchone() == noted


def test_an_abandoned_batch_is_used_by_other_groups(
    config: Config, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    batched = config.model_copy(
        update={"reflect": config.reflect.model_copy(update={"source": "batch"})}
    )
    with monkeypatch.context() as patch:
        patch.setattr("convrec.llm.batch.client.BatchClient.get_batch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(batched, store)
    (row,) = BatchStore(store).records()
    assert (row.state, row.stage) == ("submitted", "reflect")
    other = config.model_copy(update={"reflect": config.reflect.model_copy(update={"scale": 7})})
    waited = {
        name: len(JudgeResponses().open_batch_requests(judge_ctx(some, store)))
        for name, some in (("same", config), ("other", other), ("fewer", with_other_groups(config)))
    }
    assert waited == {"same": 0, "other": 0, "fewer": row.requests}
    fetched, _ = run(with_other_groups(config), store, name="second")["reflect"]
    assert (fetched.sent, fetched.failures) == (0, {})
    assert [row.state for row in BatchStore(store).records()] == ["ended"]


def stored(store: Store, model: str) -> list[Any]:
    with store.read_connection() as connection:
        query = "SELECT request_key FROM llm_answers WHERE model = ?"
        return connection.execute(query, [model]).fetchall()
