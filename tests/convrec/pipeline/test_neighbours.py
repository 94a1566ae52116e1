"""The data stages without a teacher LLM, with cross-fitted training lists."""

from __future__ import annotations

from typing import Any

from convrec.artifacts import Store
from convrec.artifacts.trace.conversation import trace_conversation
from convrec.artifacts.trace.lineage_path import find_lineage_path
from convrec.config import DATA_STAGES, load
from convrec.pipeline.node_state import Resolver
from convrec.pipeline.plan import make_plan
from tests.support.tiny_demo import TINY_DEMO

SETTINGS = {
    **TINY_DEMO,
    "recommend.source": "neighbours",
    "remap.describe": "off",
    "reflect.enabled": False,
    "adjust.folds": 2,
}


def planned_states(plan: dict[str, Any]) -> dict[str, str]:
    return {entry["kind"]: entry["state"] for entry in plan["stages"]}


def build_all(store: Store) -> Resolver:
    """Build and store what no response is needed for."""
    resolver = Resolver(load("demo", SETTINGS), store)
    for node in resolver.nodes(DATA_STAGES):
        assert not node.step.needs_responses(resolver.config), node.name
        resolved = resolver.resolve(node)
        store.put(resolved.spec, node.step.build(resolved.ctx))
        resolver.take(resolved)
    return resolver


def test_a_plan_sends_nothing_to_a_teacher(store: Store) -> None:
    plan = make_plan(load("demo", SETTINGS), store)
    states = planned_states(plan)
    assert states["teacher_lists"] == states["candidates"] == "would_run"
    assert {cost for role in plan["llm"].values() for cost in role.values()} == {0}
    config = load("demo", {**SETTINGS, "reflect.enabled": True})
    judged = make_plan(config, store)["llm"]
    assert set(judged["teacher"].values()) == {0}
    assert judged["judge"]["requests"] == 34 * config.reflect.passes
    build_all(store)
    states = planned_states(make_plan(load("demo", SETTINGS), store))
    kinds = ("teacher_lists", "candidates", "adjustment", "demonstrations")
    assert [states[kind] for kind in kinds] == ["cached"] * 4


def test_a_trace_shows_the_fit_that_ranked_the_list(store: Store) -> None:
    ref = build_all(store).refs["demonstrations"]
    lists = store.read(ref.artifact_id, "context_id", "split")
    assert set(lists["split"]) >= {"train", "test"}
    for context in lists["context_id"]:
        rows = trace_conversation(store, context, find_lineage_path(store, context))["candidates"]
        unseen = [row for row in rows if not row["seen"]]
        listed = [row for row in unseen if row["final_rank"]]
        listed.sort(key=lambda row: row["final_rank"])
        best = sorted((row["s_final"] for row in unseen), reverse=True)
        assert listed
        assert [row["s_final"] for row in listed] == best[: len(listed)]
