"""The page of `convrec compare`, and the previous run of a profile."""

from __future__ import annotations

import re
from typing import Any

import polars as pl
import pytest

from convrec.artifacts.runs import COMPLETED, RunArtifact, add_run_artifact, finish_run, start_run
from convrec.errors import InputError
from convrec.stages.evaluate import METRICS
from convrec.stages.evaluate.report.compare import comparison_json, comparison_page
from convrec.stages.evaluate.report.compared_run import ComparedRun, read_run
from convrec.stages.evaluate.report.previous_run import previous_metrics, what_changed
from convrec.stages.evaluate.report.run_pairs import pair_runs
from tests.support.evaluated_run import EvaluatedRun

CHECKPOINT = "generations_rank_grpo"


def record(
    run: EvaluatedRun, name: str, metrics: str, *, profile: str = "again", **settings: Any
) -> None:
    """Record a run with the metrics in the role `metrics`, and settings that differ."""
    config = run.config.model_dump(mode="json") | settings
    start_run(run.store, name, flow="pipeline", profile=profile, overrides={}, config=config)
    used = RunArtifact("metrics", run.refs[metrics].artifact_id, "completed", 1.0)
    add_run_artifact(run.store, name, used)
    finish_run(run.store, name, COMPLETED)


@pytest.fixture
def runs(evaluated_run: EvaluatedRun) -> tuple[Any, list[str]]:
    """Two runs of one profile; the metrics of sft are .5 higher in the second."""
    names = []
    for number, seed in enumerate((7, 8)):
        rows = METRICS.build(evaluated_run.ctx()).rows
        if number:
            better = pl.when(pl.col("system") == "sft").then(0.5).otherwise(0.0)
            rows = rows.with_columns(pl.col("value", "low", "high") + better)
        evaluated_run.put(f"metrics_{number}", "metrics", rows, stage="evaluate")
        name = f"{number}{number}{number}{number}-run"
        settings = {"seed": seed, "model": {"base": f"<b>{seed}</b>"}}
        record(evaluated_run, name, f"metrics_{number}", profile="made-up", **settings)
        names.append(name)
    return evaluated_run, names


@pytest.fixture
def trained_again(evaluated_run: EvaluatedRun) -> EvaluatedRun:
    """Runs aaaa and bbbb, whose rank_grpo lists differ: those of the second are of SFT."""
    evaluated_run.put_metrics()
    evaluated_run.refs["metrics_1"] = evaluated_run.refs.pop("metrics")
    record(evaluated_run, "aaaa-run", "metrics_1")
    of_sft = evaluated_run.store.read(evaluated_run.refs["generations_sft"].artifact_id)
    first = evaluated_run.refs.pop("metrics_1")
    evaluated_run.put(CHECKPOINT, "generations", of_sft, stage="evaluate")
    evaluated_run.put_metrics()
    record(evaluated_run, "bbbb-run", "metrics", seed=8)
    evaluated_run.refs["metrics_1"] = first
    return evaluated_run


def compare(run: EvaluatedRun, *names: str) -> tuple[str, list[ComparedRun]]:
    """The page, and the runs."""
    compared = [read_run(run.store, name) for name in names]
    pairs = [pair_runs(run.store, compared[0], each) for each in compared[1:]]
    return comparison_page(run.store, compared, pairs), compared


def test_page_shows_metrics_and_differences(runs: tuple[Any, list[str]]) -> None:
    evaluated_run, names = runs
    page, _ = compare(evaluated_run, *names)
    assert ">seed<" in page
    assert ">rank_grpo.steps<" not in page  # equal in both
    assert page.count('class="sure"') >= 5
    assert not re.search(r"https?://|<script|<b>", page)
    assert "Artifacts (" in page


def test_page_begins_with_what_differs(trained_again: EvaluatedRun) -> None:
    page, (first, second) = compare(trained_again, "aaaa", "bbbb")
    pair = pair_runs(trained_again.store, first, second)
    assert list(pair.systems) == ["rank_grpo"]
    assert {"teacher", "sft", "knn"} <= set(pair.same)
    difference = pair.systems["rank_grpo"]["ndcg@20"]
    values = [run.systems["rank_grpo"]["ndcg@20"]["value"] for run in (second, first)]
    assert difference["value"] == pytest.approx(values[0] - values[1])
    assert difference["high"] < 0
    verdict = "Rank-GRPO of run 2 ranks worse than Rank-GRPO of run 1"
    order = [verdict, "What differs", ">seed<", "run 2 − run 1", "What is the same", ">teacher<"]
    assert [page.index(text) for text in order] == sorted(page.index(text) for text in order)
    entry = comparison_json(second, pair)["versus_first"]["rank_grpo"]["ndcg@20"]
    assert entry["diff"] == difference["value"]
    assert set(entry) == {"diff", "low", "high", "n"}


def test_a_run_with_the_same_lists(trained_again: EvaluatedRun) -> None:
    record(trained_again, "cccc-run", "metrics")
    page, (first, second) = compare(trained_again, "bbbb", "cccc")
    assert "Run 2 has the same lists as run 1" in page
    assert "Nothing: all runs have the same settings" not in page  # the seeds differ
    pair = pair_runs(trained_again.store, first, second)
    assert "versus_first" not in comparison_json(second, pair)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"list_length": 5}, "the lists of the runs differ in length or form"),
        ({"seed": "none"}, "the settings of again dddd-run are not recorded"),
    ],
)
def test_runs_that_cannot_be_paired_say_why(
    trained_again: EvaluatedRun, settings: dict[str, Any], reason: str
) -> None:
    record(trained_again, "dddd-run", "metrics", **settings)
    page, _ = compare(trained_again, "aaaa", "dddd")
    assert f"cannot be paired: {reason}" in page
    assert "on the same samples" not in page


def test_a_changed_catalog_is_told_in_words(trained_again: EvaluatedRun) -> None:
    run = trained_again
    items = run.store.read(run.refs["catalog"].artifact_id)
    added = items.head(2).with_columns(pl.col("item_id", "title") + " again")
    run.put("catalog", "catalog", pl.concat([items, added]))
    run.put_metrics()
    record(run, "eeee-run", "metrics")
    page, _ = compare(run, "bbbb", "eeee")
    assert "62 items: 2 added, 0 removed, 0 renamed, 0 changed" in page
    assert "Rank-GRPO of run 2" in page


def test_run_is_found_by_id_prefix_or_metrics_id(runs: tuple[Any, list[str]]) -> None:
    evaluated_run, _ = runs
    ref = evaluated_run.refs["metrics_0"]
    assert read_run(evaluated_run.store, "0000").header.ref == ref
    assert read_run(evaluated_run.store, ref.artifact_id).header.ref == ref
    assert read_run(evaluated_run.store, ref.artifact_id[:16]).config["seed"] == 7
    with pytest.raises(InputError, match="two or more runs"):
        compare(evaluated_run, "0000")
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
