from __future__ import annotations

from convrec.config import load
from convrec.stages.evaluate.report.context import displayed_config


def test_displayed_config_leaves_out_where_a_run_is_computed() -> None:
    elsewhere = {
        "runner.kind": "dask",
        "runner.partitions": 3,
        "train.launcher": "accelerate",
        "llm.max_concurrency": 3,
        "llm.drain_seconds": 9,
    }
    assert displayed_config(load("demo", elsewhere)) == displayed_config(load("demo"))
    assert displayed_config(load("demo", {"seed": 8})) != displayed_config(load("demo"))


def test_newer_settings_are_displayed_only_if_they_are_set() -> None:
    plain = displayed_config(load("demo"))
    assert "models" not in plain["llm"]
    assert "year_in_title" not in plain["ingest"]
    changed = load("demo", {"llm.models": {"m": {"reasons": True}}, "ingest.year_in_title": True})
    shown = displayed_config(changed)
    assert shown["llm"]["models"]["m"]["reasons"] is True
    assert shown["ingest"]["year_in_title"] is True
