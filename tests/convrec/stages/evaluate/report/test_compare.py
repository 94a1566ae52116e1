"""The page of `convrec compare`, and the previous run of a profile."""

from __future__ import annotations

import re
from typing import Any

import polars as pl
import pytest

from convrec.artifacts.runs import COMPLETED, RunArtifact, add_run_artifact, finish_run, start_run
from convrec.errors import InputError
from convrec.stages.evaluate import METRICS
from convrec.stages.evaluate.report.compare import comparison_page, read_run
from convrec.stages.evaluate.report.previous_run import previous_metrics, what_changed
from tests.support.evaluated_run import EvaluatedRun


@pytest.fixture
def runs(evaluated_run: EvaluatedRun) -> tuple[Any, list[str]]:
    """Two runs of one profile; the metrics of sft are .5 higher in the second."""
    names = []
    for number, seed in enumerate((7, 8)):
        rows = METRICS.build(evaluated_run.ctx()).rows
        if number:
            better = pl.when(pl.col("system") == "sft").then(0.5).otherwise(0.0)
            rows = rows.with_columns(pl.col("value", "low", "high") + better)
        ref = evaluated_run.put(f"metrics_{number}", "metrics", rows, stage="evaluate")
        run_id = f"{number}{number}{number}{number}-run"
        start_run(
            evaluated_run.store,
            run_id,
            flow="pipeline",
            profile="made-up",
            overrides={},
            config={"seed": seed, "model": {"base": "<b>tiny</b>"}},
        )
        add_run_artifact(
            evaluated_run.store, run_id, RunArtifact("metrics", ref.artifact_id, "completed", 1.0)
        )
        finish_run(evaluated_run.store, run_id, COMPLETED)
        names.append(run_id)
    return evaluated_run, names


def test_page_shows_metrics_and_differences(runs: tuple[Any, list[str]]) -> None:
    evaluated_run, names = runs
    page = comparison_page([read_run(evaluated_run.store, name) for name in names])
    assert "seed" in page
    assert "model.base" not in page  # equal in both
    assert page.count('class="sure"') >= 5
    assert not re.search(r"https?://|<script", page)
    assert "Artifacts that differ" in page


def test_run_is_found_by_id_prefix_or_metrics_id(runs: tuple[Any, list[str]]) -> None:
    evaluated_run, _ = runs
    ref = evaluated_run.refs["metrics_0"]
    assert read_run(evaluated_run.store, "0000").header.ref == ref
    assert read_run(evaluated_run.store, ref.artifact_id).header.ref == ref
    with pytest.raises(InputError, match="two or more runs"):
        comparison_page([read_run(evaluated_run.store, "0000")])
    with pytest.raises(InputError):
        read_run(evaluated_run.store, "9999")


def test_previous_run_is_the_newest_older_one(runs: tuple[Any, list[str]]) -> None:
    evaluated_run, _ = runs
    first, second = (evaluated_run.refs[f"metrics_{number}"] for number in (0, 1))
    evaluated_run.refs["metrics"] = first
    assert previous_metrics(evaluated_run.ctx()) == ""
    evaluated_run.refs["metrics"] = second
    ctx = evaluated_run.ctx()
    assert previous_metrics(ctx) == first.artifact_id
    changed = what_changed(ctx, ctx.frame("metrics"), first.artifact_id)
    change = changed["systems"]["sft"]["ndcg@20"]
    assert change.apart
    assert change.now - change.before == pytest.approx(0.5)
    assert not changed["systems"]["teacher"]["ndcg@20"].apart
    assert changed["new"] == changed["gone"] == []
