from __future__ import annotations

from pathlib import Path
from typing import Any

from convrec.artifacts import Store
from convrec.config import load
from convrec.pipeline.plan import make_plan
from flows.build_sft_data import build_sft_data
from flows.pipeline import pipeline
from flows.train import train

Small = dict[str, Any]
FEWER = {"train": 8, "validation": 3, "test": 3}


def checkpoint_parents(home: Path, summary: dict[str, Any], stage: str) -> dict[str, str]:
    checkpoints = [
        e for e in summary["stages"] if e["stage"] == stage and e["kind"] == "checkpoint"
    ]
    return Store(home).header(checkpoints[-1]["artifact_id"]).parents


def test_sft_learns_from_sources_and_rank_grpo_from_the_profile(home: Path, small: Small) -> None:
    alone = build_sft_data(profile="demo", overrides={**small, "ingest.contexts": FEWER})
    source_data = next(e for e in alone["stages"] if e["kind"] == "demonstrations")["artifact_id"]
    overrides = {**small, "sources": {"fewer": {"ingest": {"contexts": FEWER}}}}

    plan = make_plan(load("demo", overrides), Store(home))
    states = [(e["kind"], e["state"]) for e in plan["stages"]]
    assert states.count(("demonstrations", "cached")) == 1
    assert plan["llm"]["teacher"]["requests"] == plan["llm"]["judge"]["requests"] == 0

    data = build_sft_data(profile="demo", overrides=overrides)
    assert [e["artifact_id"] for e in data["stages"] if e["kind"] == "demonstrations"] == [
        None,
        source_data,
    ]
    assert data["llm"]["sent"] == 0

    trained = train(profile="demo", overrides=overrides)
    of_sft = checkpoint_parents(home, trained, "sft")
    assert set(of_sft) == {"conversations", "fewer:conversations", "fewer:demonstrations"}
    assert of_sft["fewer:demonstrations"] == source_data
    of_rank_grpo = checkpoint_parents(home, trained, "rank_grpo")["conversations"]
    assert of_rank_grpo == of_sft["conversations"] != of_sft["fewer:conversations"]

    summary = pipeline(profile="demo", overrides=overrides)
    assert {e["state"] for e in summary["stages"] if e["stage"] in ("sft", "rank_grpo")} == {
        "cached"
    }
    assert {"sft", "rank_grpo"} <= set(summary["metrics"])
    assert not {"teacher", "adjusted"} & set(summary["metrics"])
    assert "fewer" in Path(summary["report"]).read_text(encoding="utf-8")
