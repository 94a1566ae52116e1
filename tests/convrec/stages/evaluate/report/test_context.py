from __future__ import annotations

from convrec.config import load
from convrec.stages.evaluate.report.context import shown_config


def test_where_a_run_is_computed_is_no_part_of_what_a_report_shows() -> None:
    elsewhere = {
        "runner.kind": "dask",
        "runner.partitions": 3,
        "train.launcher": "accelerate",
        "llm.max_concurrency": 3,
    }
    assert shown_config(load("demo", elsewhere)) == shown_config(load("demo"))
    assert shown_config(load("demo", {"seed": 8})) != shown_config(load("demo"))
