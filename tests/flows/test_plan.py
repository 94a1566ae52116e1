from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store, database_file
from convrec.config import ROOT, load
from convrec.llm.prices import Usage
from convrec.llm.requests import Request
from convrec.llm.response import make_response
from convrec.llm.response_store import ResponseStore
from convrec.pipeline.graph import Node
from convrec.pipeline.plan import PlanBuilder, make_plan
from flows.pipeline import pipeline
from tests.support.expired_batch import replay_expired_batch
from tests.support.stored_responses import dead_spool

Small = dict[str, Any]


def planned(home: Path, overrides: Small) -> dict[str, Any]:
    return make_plan(load("demo", overrides), Store(home))


def spent(home: Path, stage: str) -> float:
    with Store(home).read_connection() as connection:
        row = connection.execute(
            "SELECT sum(usd) FROM llm_ledger WHERE stage = ?", [stage]
        ).fetchone()
    assert row is not None
    return float(row[0])


def test_the_bill_of_descriptions_is_within_a_tenth_of_the_plan(home: Path, small: Small) -> None:
    small |= {"remap.describe": "all", "list_length": 8}
    before = planned(home, small)["llm"]["descriptions"]
    assert before["assumed_titles"] == 165  # 10·√(34 contexts × 8 lines)
    assert before["requests"] == 204 + before["assumed_titles"]
    pipeline(profile="demo", overrides=small, until="recommend")
    between = planned(home, small)["llm"]["descriptions"]
    assert "assumed_titles" not in between
    pipeline(profile="demo", overrides=small, until="remap")
    bill = spent(home, "remap")
    assert before["usd_low"] <= bill <= before["usd_high"]
    assert 0.9 * bill <= between["usd_low"] <= between["usd_high"] <= 1.1 * bill


def test_an_edit_plans_items_without_a_description_as_candidates_of_any_list(
    home: Path, small: Small, tmp_path: Path
) -> None:
    small |= {"remap.describe": "all"}
    pipeline(profile="demo", overrides=small, until="adjust")
    billed = spent(home, "reflect")
    lines = (ROOT / "catalog" / "demo.csv").read_text(encoding="utf-8").splitlines()
    rest = lines[1].split(",", 1)[1]
    edited = tmp_path / "catalog.csv"
    edited.write_text("\n".join([*lines, f"The Unmade Sequel,{rest}"]), encoding="utf-8")
    small |= {"ingest.catalog": str(edited)}
    plan = planned(home, small)["llm"]
    assert plan["descriptions"]["requests"] == 1
    # All passes over a single item show the same list, which is asked about once.
    assert plan["judge"]["requests"] <= plan["judge"]["requests_high"] == 34
    run = pipeline(profile="demo", overrides=small, until="adjust")
    sent = run["llm"]["sent"] - 1
    assert plan["judge"]["requests"] <= sent <= plan["judge"]["requests_high"]
    bill = spent(home, "reflect") - billed
    assert plan["judge"]["usd_low"] <= bill <= plan["judge"]["usd_high"]


def test_the_bill_is_within_the_range_of_the_plan(home: Path, small: Small) -> None:
    small |= {"list_length": 20, "reflect.top": 30, "remap.keep": 40}  # as in the profile
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


def test_a_plan_omits_disabled_stages(home: Path, small: Small) -> None:
    plan = planned(home, {**small, "reflect.enabled": False})
    assert "judgments" not in {entry["kind"] for entry in plan["stages"]}
    assert plan["llm"]["judge"]["requests"] == 0


def test_a_replay_plans_no_request_to_the_teacher(home: Path, small: Small, tmp_path: Path) -> None:
    plan = planned(home, small | replay_expired_batch(tmp_path / "answers.jsonl", small))
    states = {entry["kind"]: entry["state"] for entry in plan["stages"]}
    assert states["teacher_lists"] == "would_run"
    assert set(plan["llm"]["teacher"].values()) == {0}


def leave_response_in_spool(home: Path) -> str:
    """Leave a response in the spool of a killed process; return its key."""
    request = Request("c1", "demo", {"model": "demo-judge", "messages": []})
    body = json.dumps({"choices": [{"message": {"content": "a"}}]})
    response = make_response(request, body, Usage(0, 0, 0), 0.5, run="r", stage="reflect")
    dead_spool(Store(home), response)
    return request.key


def test_a_plan_stores_the_responses_of_a_killed_run(
    home: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_file, "LOCK_TIMEOUT", 2.0)
    key = leave_response_in_spool(home)
    planned(home, small)
    assert ResponseStore(Store(home)).digests([key])


def test_responses_are_recovered_after_the_plan_was_read(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_file, "LOCK_TIMEOUT", 2.0)
    store = Store(home)
    with store.hold_connection():
        key = leave_response_in_spool(home)
        assert ResponseStore(store).recover() == 0
    assert ResponseStore(store).recover() == 1
    assert ResponseStore(store).digests([key])


def test_the_plan_holds_no_connection_while_it_computes(
    home: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    add_cost = PlanBuilder._add_cost

    def recording(self: PlanBuilder, node: Node, ctx: Any) -> int | None:
        held.append(self.resolver.store.is_connection_held)
        return add_cost(self, node, ctx)

    monkeypatch.setattr(PlanBuilder, "_add_cost", recording)
    planned(home, {**small, "remap.describe": "off"})
    assert held == [False, False]
