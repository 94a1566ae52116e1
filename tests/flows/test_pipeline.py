from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.config import STAGES
from convrec.errors import BudgetExceeded, ConfigError, InputError
from convrec.llm.ledger import ledger_rows
from convrec.models import gguf
from flows.build_sft_data import build_sft_data
from flows.evaluate import evaluate
from flows.pipeline import pipeline
from flows.train import train
from tests.flows.conftest import ids

Small = dict[str, Any]

ANSWERS = 103
"""Of 34 contexts: one of the teacher, two of the judge, and one repair."""


def states(summary: dict[str, Any]) -> dict[str, set[str]]:
    """Stage → the states of its artifacts."""
    found: dict[str, set[str]] = {}
    for entry in summary["stages"]:
        found.setdefault(entry["stage"], set()).add(entry["state"])
    return found


def test_the_whole_pipeline_then_cached_then_only_what_changed(home: Path, small: Small) -> None:
    first = pipeline(profile="demo", overrides=small)
    assert states(first) == {stage: {"completed"} for stage in STAGES}
    fixed = {"teacher", "remapped", "adjusted", "sft", "rank_grpo"}
    assert set(first["metrics"]) == fixed | {"reflected", "popularity", "knn"}
    assert first["llm"]["sent"] == first["llm"]["requests"] == ANSWERS
    assert first["llm"]["usd"] > 0
    assert "passes agree: kappa" in Path(first["report"]).read_text(encoding="utf-8")

    second = pipeline(profile="demo", overrides=small)
    assert states(second) == {stage: {"cached"} for stage in STAGES}
    assert ids(second) == ids(first)
    assert second["metrics"] == first["metrics"]
    assert second["llm"]["sent"] == 0
    assert second["llm"]["from_ledger"] == ANSWERS
    assert second["llm"]["usd"] == 0

    third = pipeline(profile="demo", overrides={**small, "rank_grpo.steps": 2})
    changed = states(third)
    assert {stage for stage, state in changed.items() if "completed" in state} == {
        "rank_grpo",
        "evaluate",
    }
    kinds = {e["kind"]: e["state"] for e in third["stages"] if e["stage"] == "evaluate"}
    assert kinds["metrics"] == "completed"
    sampled = [e["state"] for e in third["stages"] if e["kind"] == "generations"]
    assert sampled == ["cached", "completed"]

    record = json.loads((home / "runs" / f"{third['flow_run_id']}.json").read_text())
    assert record["config"]["rank_grpo"]["steps"] == 2
    assert record["outcome"] == "completed"

    produced = Store(home).header(str(ids(third)[-1]))
    assert produced.producer.flow_run_id == third["flow_run_id"]
    assert produced.producer.task_run_id


def test_a_deleted_artifact_is_made_again(home: Path, small: Small) -> None:
    first = pipeline(profile="demo", overrides=small, until="adjust")
    store = Store(home)
    gone = next(e["artifact_id"] for e in first["stages"] if e["kind"] == "candidates")
    with store.transaction() as connection:
        connection.execute("DELETE FROM candidates WHERE artifact_id = ?", [gone])

    second = pipeline(profile="demo", overrides=small, until="adjust")
    kinds = {e["kind"]: e["state"] for e in second["stages"] if e["state"] != "skipped"}
    assert kinds.pop("candidates") == "completed"
    assert set(kinds.values()) == {"cached"}
    assert ids(second) == ids(first)


def test_lost_result_records_cost_nothing(home: Path, small: Small) -> None:
    pipeline(profile="demo", overrides=small, until="adjust")
    before = Store(home).headers()
    shutil.rmtree(home / "results")
    again = pipeline(profile="demo", overrides=small, until="adjust")
    assert again["llm"]["sent"] == 0
    assert [h.created_at for h in Store(home).headers()] == [h.created_at for h in before]


def test_refresh_recomputes_from_a_stage_on_and_buys_nothing(home: Path, small: Small) -> None:
    pipeline(profile="demo", overrides=small, until="adjust")
    again = states(pipeline(profile="demo", overrides=small, until="adjust", refresh="remap"))
    assert again["ingest"] == again["recommend"] == {"cached"}
    assert again["remap"] == again["reflect"] == again["adjust"] == {"completed"}


def test_a_catalog_edit_asks_no_teacher_and_keeps_the_basis(
    home: Path, small: Small, tmp_path: Path
) -> None:
    first = build_sft_data(profile="demo", overrides=small)
    lines = (Path(__file__).resolve().parents[2] / "catalog" / "demo.csv").read_text().splitlines()
    edited = tmp_path / "edited.csv"
    edited.write_text("\n".join(lines[:1] + lines[2:]) + "\n")

    second = build_sft_data(profile="demo", overrides={**small, "ingest.catalog": str(edited)})
    kinds = {e["kind"]: e["state"] for e in second["stages"]}
    assert kinds["teacher_lists"] == kinds["conversations"] == "cached"
    assert kinds["similarity_basis"] == "cached"
    assert kinds["candidates"] == kinds["demonstrations"] == "completed"
    judged = first["llm"]["requests"] // 2
    assert second["llm"]["sent"] <= judged


def test_train_and_evaluate_use_what_is_built_and_refuse_what_is_not(
    home: Path, small: Small
) -> None:
    with pytest.raises(InputError, match="build-sft-data"):
        train(profile="demo", overrides=small)
    build_sft_data(profile="demo", overrides=small)
    with pytest.raises(InputError, match="checkpoint_sft of profile demo is not built"):
        evaluate(profile="demo", overrides=small)
    trained = train(profile="demo", overrides=small)
    assert states(trained)["sft"] == states(trained)["rank_grpo"] == {"completed"}
    measured = evaluate(profile="demo", overrides=small)
    assert states(measured)["evaluate"] == {"completed"}
    assert measured["llm"]["sent"] == 0
    given = next(e["artifact_id"] for e in trained["stages"] if e["kind"] == "checkpoint")
    folder = home / "files" / str(given)
    assert "(this)" in (folder / "README.md").read_text(encoding="utf-8")

    by_id = evaluate(profile="demo", overrides=small, checkpoint=str(given))
    kinds = {entry["kind"]: entry["state"] for entry in by_id["stages"]}
    assert kinds["generations"] == "cached"  # it is the profile's own
    assert by_id["metrics"]["checkpoint"] == by_id["metrics"]["sft"]
    by_folder = evaluate(profile="demo", overrides=small, checkpoint=str(folder))
    assert by_folder["metrics"]["checkpoint"] == by_id["metrics"]["checkpoint"]
    with pytest.raises(InputError, match="neither a folder nor a checkpoint"):
        evaluate(profile="demo", overrides=small, checkpoint="checkpoint-nothing")


def test_the_budget_stops_a_run_and_keeps_what_was_paid(home: Path, small: Small) -> None:
    with pytest.raises(BudgetExceeded, match=r"llm\.max_usd"):
        pipeline(profile="demo", overrides={**small, "llm.max_usd": 0.003}, until="adjust")
    rest = pipeline(profile="demo", overrides=small, until="adjust")
    assert 0 < rest["llm"]["from_ledger"] < ANSWERS
    assert rest["llm"]["sent"] + rest["llm"]["from_ledger"] == ANSWERS
    (record,) = [
        r
        for path in (home / "runs").glob("*.json")
        if (r := json.loads(path.read_text()))["outcome"] != "completed"
    ]
    assert record["outcome"] == "BudgetExceeded"
    for summary in (record, rest):
        bills = [r for r in ledger_rows(Store(home)) if r["run"] == summary["flow_run_id"]]
        for figure in ("prompt_tokens", "completion_tokens", "usd"):
            told = sum(bill[figure] for bill in bills)
            assert summary["llm"][figure] == pytest.approx(told, abs=1e-6) != 0


def test_a_model_that_is_not_there_is_refused_before_anything_is_asked(
    home: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = {**small, "model.base": "/no/such/model"}
    with pytest.raises(InputError, match=r"model\.base=/no/such/model is not a folder"):
        pipeline(profile="demo", overrides=missing)
    monkeypatch.setitem(gguf.PACKAGES, "smollm2", "no_such_package")
    with pytest.raises(ConfigError, match="no-such-package, which is not installed"):
        pipeline(profile="demo", overrides={**small, "model.base": "smollm2"})
    assert not Store(home).headers()
    summary = pipeline(profile="demo", overrides=missing, until="ingest")
    assert states(summary)["sft"] == {"skipped"}


def test_reflect_can_be_off(home: Path, small: Small) -> None:
    summary = pipeline(
        profile="demo", overrides={**small, "reflect.enabled": False}, until="adjust"
    )
    assert states(summary)["reflect"] == {"skipped"}
    assert states(summary)["adjust"] == {"completed"}


def test_what_another_host_made_is_cached_though_prefect_has_no_record(
    home: Path, small: Small
) -> None:
    first = pipeline(profile="demo", overrides=small, until="ingest")
    shutil.rmtree(home / "results")
    second = pipeline(profile="demo", overrides=small, until="ingest")
    assert ids(second) == ids(first)
    assert states(second)["ingest"] == {"cached"}
