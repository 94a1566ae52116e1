from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store, database_file
from convrec.config import load
from convrec.llm.prices import Usage
from convrec.llm.requests import Request
from convrec.llm.response import make_response
from convrec.llm.response_store import ResponseStore
from convrec.pipeline.graph import Node
from convrec.pipeline.plan import PlanBuilder, make_plan
from flows.pipeline import pipeline
from tests.flows.conftest import late
from tests.support.stored_responses import dead_spool

Small = dict[str, Any]


def planned(home: Path, overrides: Small) -> dict[str, Any]:
    return make_plan(load("demo", overrides), Store(home))


def spent(home: Path, stage: str) -> float:
    with Store(home).read_connection() as connection:
        found = connection.execute(
            "SELECT sum(usd) FROM llm_ledger WHERE stage = ?", [stage]
        ).fetchone()
    assert found is not None
    return float(found[0])


def test_a_plan_counts_requests_and_brackets_the_bill(home: Path, small: Small) -> None:
    small |= {"list_length": 20, "reflect.top": 30, "remap.keep": 40}  # as the profile has them
    before = planned(home, small)
    assert {entry["state"] for entry in before["stages"]} == {"would_run"}
    passes = load("demo", small).reflect.passes
    assert before["llm"]["teacher"]["requests"] == 34
    assert before["llm"]["judge"]["requests"] == 34 * passes
    assert Store(home).headers() == []

    pipeline(profile="demo", overrides=small, until="recommend")
    between = planned(home, small)
    assert set(between["llm"]["teacher"].values()) == {0}
    assert between["llm"]["judge"]["requests"] == 34 * passes

    pipeline(profile="demo", overrides=small, until="adjust")
    teacher, judge = spent(home, "recommend"), spent(home, "reflect")
    first = before["llm"]
    assert 0.9 * teacher <= first["teacher"]["usd_low"] <= teacher * 1.02
    assert 0.98 * teacher <= first["teacher"]["usd_high"] <= 1.1 * teacher
    assert first["judge"]["usd_low"] <= judge <= first["judge"]["usd_high"]
    later = between["llm"]["judge"]
    assert 0.9 * judge <= later["usd_low"] <= later["usd_high"] <= 1.1 * judge

    after = planned(home, small)
    states = {entry["kind"]: entry["state"] for entry in after["stages"]}
    assert states["demonstrations"] == "cached"
    assert states["checkpoint"] == "would_run"
    assert after["llm"]["judge"]["requests"] == 0


def test_a_plan_leaves_out_what_the_profile_skips(home: Path, small: Small) -> None:
    plan = planned(home, {**small, "reflect.enabled": False})
    assert "judgments" not in {entry["kind"] for entry in plan["stages"]}
    assert plan["llm"]["judge"]["requests"] == 0


def test_a_plan_of_a_replay_sends_the_teacher_nothing(
    home: Path, small: Small, tmp_path: Path
) -> None:
    plan = planned(home, small | late(tmp_path / "answers.jsonl", small))
    states = {entry["kind"]: entry["state"] for entry in plan["stages"]}
    assert states["teacher_lists"] == "would_run"
    assert set(plan["llm"]["teacher"].values()) == {0}


def killed_with_a_response(home: Path) -> str:
    """The key of a response that a killed process left in its spool."""
    request = Request("c1", "demo", {"model": "demo-judge", "messages": []})
    body = json.dumps({"choices": [{"message": {"content": "a"}}]})
    response = make_response(request, body, Usage(0, 0, 0), 0.5, run="r", stage="reflect")
    dead_spool(Store(home), response)
    return request.key


def test_a_plan_after_a_run_was_killed_saves_its_answers(
    home: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_file, "LOCK_TIMEOUT", 2.0)
    key = killed_with_a_response(home)
    planned(home, small)
    assert ResponseStore(Store(home)).digests([key])


def test_a_process_that_is_killed_while_a_plan_reads_holds_it_up_no_longer(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_file, "LOCK_TIMEOUT", 2.0)
    store = Store(home)
    with store.hold_connection():
        key = killed_with_a_response(home)
        assert ResponseStore(store).recover() == 0
    assert ResponseStore(store).recover() == 1
    assert ResponseStore(store).digests([key])


def test_others_can_write_while_a_plan_computes(
    home: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    add_cost = PlanBuilder._add_cost

    def noted(self: PlanBuilder, node: Node, ctx: Any) -> int | None:
        held.append(self.resolver.store.is_connection_held)
        return add_cost(self, node, ctx)

    monkeypatch.setattr(PlanBuilder, "_add_cost", noted)
    planned(home, small)
    assert held == [False, False]
