from __future__ import annotations

from convrec.config import load
from convrec.stages.evaluate.report.context import displayed_config, rerun_command


def test_displayed_config_leaves_out_where_a_run_is_computed() -> None:
    elsewhere = {
        "runner.kind": "dask",
        "runner.partitions": 3,
        "train.launcher": "accelerate",
        "llm.max_concurrency": 3,
        "llm.drain_seconds": 9,
        "sft.micro_batch": 2,
        "sft.save_every": 5,
        "rank_grpo.micro_batch": 2,
        "rank_grpo.save_every": 5,
        "rank_grpo.vllm_memory": 0.5,
    }
    assert displayed_config(load("demo", elsewhere)) == displayed_config(load("demo"))
    assert displayed_config(load("demo", {"seed": 8})) != displayed_config(load("demo"))


def test_newer_settings_are_displayed_only_if_they_are_set() -> None:
    plain = displayed_config(load("demo"))
    assert "models" not in plain["llm"]
    assert "year_in_title" not in plain["ingest"]
    assert "weights" not in plain["model"]
    assert "optimizer" not in plain["sft"]
    changes = {
        "llm.models": {"m": {"reasons": True}},
        "ingest.year_in_title": True,
        "model.weights": "bfloat16",
    }
    changed = load("demo", changes)
    shown = displayed_config(changed)
    assert shown["llm"]["models"]["m"]["reasons"] is True
    assert shown["ingest"]["year_in_title"] is True
    assert shown["model"]["weights"] == "bfloat16"


def test_the_command_has_newer_settings() -> None:
    changed = load("demo", {"model.weights": "bfloat16", "ingest.year_in_title": True})
    options = "--set ingest.year_in_title=true --set model.weights=bfloat16"
    assert rerun_command(changed) == f"convrec run demo {options}"
