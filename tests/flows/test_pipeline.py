from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.config import STAGES
from convrec.errors import BudgetExceeded, ConfigError, InputError, TrainingError
from convrec.llm.ledger import ledger_rows
from convrec.models import gguf
from flows.build_sft_data import build_sft_data
from flows.evaluate import evaluate
from flows.pipeline import pipeline
from flows.train import train
from tests.support.catalogs import DEMO_LINES, write_lines
from tests.support.model_folders import rename_weights, save_model
from tests.support.summaries import artifact_ids, states_by_stage

Small = dict[str, Any]

RESPONSES = 142
"""For each of 34 contexts one response of the teacher and two of the judge; 40 descriptions."""


def test_a_second_run_is_cached_and_a_third_builds_the_change(home: Path, small: Small) -> None:
    first = pipeline(profile="demo", overrides=small)
    assert states_by_stage(first) == {stage: {"completed"} for stage in STAGES}
    systems = {"teacher", "remapped", "reflected", "adjusted", "sft", "rank_grpo"}
    assert set(first["metrics"]) == systems | {"free", "served", "popularity", "knn"}
    served = first["metrics"]["served"]
    assert (served["in_catalog"], served["exact_n"], served["repeats"]) == (1, 1, 0)
    assert first["llm"]["sent"] == first["llm"]["requests"] == RESPONSES
    assert first["llm"]["usd"] > 0
    report = Path(first["report"]).read_text(encoding="utf-8")
    assert "passes agree: kappa" in report
    assert {"constraint: negation", "constraint: plain"} <= set(
        re.findall(r"constraint: \w+", report)
    )

    second = pipeline(profile="demo", overrides=small)
    assert states_by_stage(second) == {stage: {"cached"} for stage in STAGES}
    assert artifact_ids(second) == artifact_ids(first)
    assert second["metrics"] == first["metrics"]
    assert second["llm"]["sent"] == 0
    assert second["llm"]["from_ledger"] == RESPONSES
    assert second["llm"]["usd"] == 0

    third = pipeline(profile="demo", overrides={**small, "rank_grpo.steps": 2})
    changed = states_by_stage(third)
    assert {stage for stage, state in changed.items() if "completed" in state} == {
        "rank_grpo",
        "evaluate",
    }
    kinds = {e["kind"]: e["state"] for e in third["stages"] if e["stage"] == "evaluate"}
    assert kinds["metrics"] == "completed"
    generations = [e["state"] for e in third["stages"] if e["kind"] == "generations"]
    assert generations == ["cached", "completed", "completed", "completed"]

    record = json.loads((home / "runs" / f"{third['flow_run_id']}.json").read_text())
    assert record["config"]["rank_grpo"]["steps"] == 2
    assert record["outcome"] == "completed"

    producer = Store(home).header(str(artifact_ids(third)[-1])).producer
    assert producer.flow_run_id == third["flow_run_id"]
    assert producer.task_run_id


def test_a_deleted_artifact_is_rebuilt(home: Path, small: Small) -> None:
    first = pipeline(profile="demo", overrides=small, until="adjust")
    store = Store(home)
    deleted = next(e["artifact_id"] for e in first["stages"] if e["kind"] == "candidates")
    with store.transaction() as connection:
        connection.execute("DELETE FROM candidates WHERE artifact_id = ?", [deleted])

    second = pipeline(profile="demo", overrides=small, until="adjust")
    kinds = {e["kind"]: e["state"] for e in second["stages"] if e["state"] != "skipped"}
    assert kinds.pop("candidates") == "completed"
    assert set(kinds.values()) == {"cached"}
    assert artifact_ids(second) == artifact_ids(first)


def test_artifacts_are_reused_without_prefect_results(home: Path, small: Small) -> None:
    pipeline(profile="demo", overrides=small, until="adjust")
    before = Store(home).headers()
    shutil.rmtree(home / "results")
    again = pipeline(profile="demo", overrides=small, until="adjust")
    assert again["llm"]["sent"] == 0
    assert len(before) > 5
    assert [h.created_at for h in Store(home).headers()] == [h.created_at for h in before]


def test_refresh_rebuilds_from_a_stage_and_sends_nothing(home: Path, small: Small) -> None:
    pipeline(profile="demo", overrides=small, until="adjust")
    again = pipeline(profile="demo", overrides=small, until="adjust", refresh="remap")
    states = states_by_stage(again)
    assert states["ingest"] == states["recommend"] == {"cached"}
    assert states["remap"] == states["reflect"] == states["adjust"] == {"completed"}
    assert again["llm"]["sent"] == 0


def test_a_catalog_edit_reuses_teacher_lists_and_basis(
    home: Path, small: Small, tmp_path: Path
) -> None:
    first = build_sft_data(profile="demo", overrides=small)
    edited = write_lines(tmp_path / "edited.csv", [DEMO_LINES[0], *DEMO_LINES[2:]])

    second = build_sft_data(profile="demo", overrides={**small, "ingest.catalog": str(edited)})
    kinds = {e["kind"]: e["state"] for e in second["stages"]}
    assert kinds["teacher_lists"] == kinds["conversations"] == "cached"
    assert kinds["similarity_basis"] == "cached"
    assert kinds["candidates"] == kinds["demonstrations"] == "completed"
    assert second["llm"]["sent"] <= first["llm"]["requests"] // 2


def test_train_and_evaluate_need_the_earlier_stages(home: Path, small: Small) -> None:
    with pytest.raises(InputError, match="build-sft-data"):
        train(profile="demo", overrides=small)
    build_sft_data(profile="demo", overrides=small)
    with pytest.raises(InputError, match="checkpoint_sft of profile demo is not built"):
        evaluate(profile="demo", overrides=small)
    trained = train(profile="demo", overrides=small)
    assert states_by_stage(trained)["sft"] == states_by_stage(trained)["rank_grpo"] == {"completed"}
    evaluated = evaluate(profile="demo", overrides=small)
    assert states_by_stage(evaluated)["evaluate"] == {"completed"}
    assert evaluated["llm"]["sent"] == 0

    sft = next(e["artifact_id"] for e in trained["stages"] if e["kind"] == "checkpoint")
    folder = home / "files" / str(sft)
    assert "(this)" in (folder / "README.md").read_text(encoding="utf-8")

    by_id = evaluate(profile="demo", overrides=small, checkpoint=str(sft))
    generations = [e["state"] for e in by_id["stages"] if e["kind"] == "generations"]
    assert generations == ["cached", "completed", "completed"]  # the first is the profile's
    assert by_id["metrics"]["checkpoint"] == by_id["metrics"]["sft"]
    by_folder = evaluate(profile="demo", overrides=small, checkpoint=str(folder))
    assert by_folder["metrics"]["checkpoint"] == by_id["metrics"]["checkpoint"]
    with pytest.raises(InputError, match="neither a folder nor a checkpoint"):
        evaluate(profile="demo", overrides=small, checkpoint="checkpoint-nothing")


def test_free_is_sampled_once(home: Path, small: Small) -> None:
    overrides = {**small, "evaluate.sampler": "free", "evaluate.temperature": 0}
    made = pipeline(profile="demo", overrides=overrides)
    lists = [(e["artifact_id"], e["state"]) for e in made["stages"] if e["kind"] == "generations"]
    sampled, free = lists[1:3]
    assert (free[0], free[1]) == (sampled[0], "cached")
    assert made["metrics"]["free"] == made["metrics"]["rank_grpo"]


@pytest.mark.parametrize(
    "settings",
    [
        {"evaluate.vllm": True, "evaluate.sampler": "free"},
        {"rank_grpo.vllm": "colocate", "rank_grpo.sampler": "free"},
    ],
)
def test_vllm_that_is_missing_stops_a_run_before_its_first_request(
    home: Path, small: Small, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    overrides = {**small, **settings}
    with pytest.raises(TrainingError, match="needs the package vllm, which is not installed"):
        pipeline(profile="demo", overrides=overrides)
    assert not Store(home).headers()
    pipeline(profile="demo", overrides=overrides, until="ingest")  # needs no vLLM


def test_the_budget_stops_a_run_and_responses_are_reused(home: Path, small: Small) -> None:
    with pytest.raises(BudgetExceeded, match=r"llm\.max_usd"):
        pipeline(profile="demo", overrides={**small, "llm.max_usd": 0.003}, until="adjust")
    rest = pipeline(profile="demo", overrides=small, until="adjust")
    assert 0 < rest["llm"]["from_ledger"] < RESPONSES
    assert rest["llm"]["sent"] + rest["llm"]["from_ledger"] == RESPONSES
    (record,) = [
        r
        for path in (home / "runs").glob("*.json")
        if (r := json.loads(path.read_text()))["outcome"] != "completed"
    ]
    assert record["outcome"] == "BudgetExceeded"
    for summary in (record, rest):
        bills = [r for r in ledger_rows(Store(home)) if r["run"] == summary["flow_run_id"]]
        for figure in ("prompt_tokens", "completion_tokens", "usd"):
            billed = sum(bill[figure] for bill in bills)
            assert billed > 0
            assert summary["llm"][figure] == pytest.approx(billed, abs=1e-6)


def test_a_missing_model_is_refused_before_the_first_stage(
    home: Path, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = {**small, "model.base": "/no/such/model"}
    with pytest.raises(InputError, match=r"model\.base=/no/such/model is not a folder"):
        pipeline(profile="demo", overrides=missing)
    monkeypatch.setitem(gguf.PACKAGES, "smollm2", "no_such_package")
    with pytest.raises(ConfigError, match="no-such-package, which is not installed"):
        pipeline(profile="demo", overrides={**small, "model.base": "smollm2"})
    broken = save_model(tmp_path / "student")
    rename_weights(broken, lambda name: f"_orig_mod.{name}")
    with pytest.raises(InputError, match=r"lacks 21 there.* contain `_orig_mod\.`"):
        pipeline(profile="demo", overrides={**small, "model.base": str(broken)})
    assert not Store(home).headers()
    summary = pipeline(profile="demo", overrides=missing, until="ingest")
    assert states_by_stage(summary)["sft"] == {"skipped"}


def test_reflect_can_be_disabled(home: Path, small: Small) -> None:
    summary = pipeline(
        profile="demo", overrides={**small, "reflect.enabled": False}, until="adjust"
    )
    assert states_by_stage(summary)["reflect"] == {"skipped"}
    assert states_by_stage(summary)["adjust"] == {"completed"}


def test_ingest_is_cached_without_prefect_results(home: Path, small: Small) -> None:
    first = pipeline(profile="demo", overrides=small, until="ingest")
    shutil.rmtree(home / "results")
    second = pipeline(profile="demo", overrides=small, until="ingest")
    assert artifact_ids(second) == artifact_ids(first)
    assert states_by_stage(second)["ingest"] == {"cached"}
