"""Runs side by side, on a page that needs nothing else."""

from __future__ import annotations

import re
from typing import Any

import polars as pl
import pytest

from convrec.artifacts.runs import COMPLETED, RunArtifact, close_run, note_artifact, open_run
from convrec.errors import InputError
from convrec.stages.evaluate import METRICS
from convrec.stages.evaluate.report.compare import comparison_page, read_run
from convrec.stages.evaluate.report.previous_run import previous_metrics, what_changed


@pytest.fixture
def runs(world: Any) -> tuple[Any, list[str]]:
    """Two runs of one profile; in the second one sft repeats itself less."""
    names = []
    for number, seed in enumerate((7, 8)):
        rows = METRICS.build(world.ctx()).rows
        if number:
            better = pl.when(pl.col("system") == "sft").then(0.5).otherwise(0.0)
            rows = rows.with_columns(pl.col("value", "low", "high") + better)
        ref = world.put(f"metrics_{number}", "metrics", rows, stage="evaluate")
        run_id = f"{number}{number}{number}{number}-run"
        open_run(
            world.store,
            run_id,
            flow="pipeline",
            profile="made-up",
            overrides={},
            config={"seed": seed, "model": {"base": "<b>tiny</b>"}},
        )
        note_artifact(
            world.store, run_id, RunArtifact("metrics", ref.artifact_id, "completed", 1.0)
        )
        close_run(world.store, run_id, COMPLETED)
        names.append(run_id)
    return world, names


def test_the_page_shows_figures_and_what_differs(runs: tuple[Any, list[str]]) -> None:
    world, names = runs
    page = comparison_page([read_run(world.store, name) for name in names])
    assert "seed" in page
    assert "model.base" not in page  # it is the same in both
    assert page.count('class="sure"') >= 5
    assert not re.search(r"https?://|<script", page)
    assert "Artifacts that differ" in page


def test_a_run_is_named_by_its_first_signs_or_its_metrics(runs: tuple[Any, list[str]]) -> None:
    world, _ = runs
    ref = world.refs["metrics_0"]
    assert read_run(world.store, "0000").header.ref == ref
    assert read_run(world.store, ref.artifact_id).header.ref == ref
    with pytest.raises(InputError, match="two runs or more"):
        comparison_page([read_run(world.store, "0000")])
    with pytest.raises(InputError):
        read_run(world.store, "9999")


def test_the_previous_run_is_the_one_before_these_figures(runs: tuple[Any, list[str]]) -> None:
    world, _ = runs
    first, second = (world.refs[f"metrics_{number}"] for number in (0, 1))
    world.refs["metrics"] = first
    assert previous_metrics(world.ctx()) == ""
    world.refs["metrics"] = second
    ctx = world.ctx()
    assert previous_metrics(ctx) == first.artifact_id
    changed = what_changed(ctx, ctx.frame("metrics"), first.artifact_id)
    change = changed["systems"]["sft"]["ndcg@20"]
    assert change.apart
    assert change.now - change.before == pytest.approx(0.5)
    assert not changed["systems"]["teacher"]["ndcg@20"].apart
    assert changed["new"] == changed["gone"] == []
