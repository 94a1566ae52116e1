from __future__ import annotations

from convrec.config import load
from convrec.stages.evaluate.report.context import displayed_config


def test_displayed_config_leaves_out_where_a_run_is_computed() -> None:
    elsewhere = {
        "runner.kind": "dask",
        "runner.partitions": 3,
        "train.launcher": "accelerate",
        "llm.max_concurrency": 3,
    }
    assert displayed_config(load("demo", elsewhere)) == displayed_config(load("demo"))
    assert displayed_config(load("demo", {"seed": 8})) != displayed_config(load("demo"))
