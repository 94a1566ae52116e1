"""The metrics artifact on a made-up warehouse."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest

from convrec.artifacts import Job
from convrec.artifacts.tables import KINDS
from convrec.errors import InputError
from convrec.evaluate import METRICS, metrics_json
from convrec.evaluate.systems import SYSTEMS


def test_every_system_stands_on_one_footing(world: Any) -> None:
    rows = METRICS.build(world.job()).rows
    assert rows.columns == list(KINDS["metrics"])
    plain = rows.filter(pl.col("versus").is_null() & (pl.col("protocol") == "standard"))
    assert set(plain["system"]) == set(SYSTEMS)
    assert set(plain["n"]) == {60}
    assert (rows["low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["high"]).all()
    world.put("metrics", "metrics", rows, stage="evaluate")
    assert world.store.read(world.refs["metrics"].artifact_id).height == rows.height


def test_remapped_leaves_seen_items_out_before_the_cut(world: Any) -> None:
    found = metrics_json(METRICS.build(world.job()).rows)["metrics"]["remapped"]
    assert (found["seen"], found["exact_n"], found["in_catalog"]) == (0, 1, 1)


def test_the_teacher_is_judged_as_it_wrote(world: Any) -> None:
    found = metrics_json(METRICS.build(world.job()).rows)["metrics"]["teacher"]
    assert found["format"] == found["in_catalog"]
    assert 0.7 < found["format"] < 0.9


def test_paired_differences_are_differences_of_the_means(world: Any) -> None:
    found = metrics_json(METRICS.build(world.job()).rows)
    gain = {(c["a"], c["b"], c["metric"]): c for c in found["comparisons"]}
    by_hand = found["metrics"]["rank_grpo"]["ndcg@20"] - found["metrics"]["sft"]["ndcg@20"]
    paired = gain["rank_grpo", "sft", "ndcg@20"]
    assert paired["diff"] == pytest.approx(by_hand)
    assert paired["low"] > 0
    assert set(found["metrics"]["sft"]) == {
        *(f"{m}@{k}" for m in ("recall", "ndcg", "mrr", "hit") for k in (5, 10, 15, 20)),
        *("in_catalog", "format", "exact_n", "repeats", "seen"),
    }


def test_a_sample_without_a_list_is_left_out_and_said(world: Any) -> None:
    ref = world.refs["teacher_lists"]
    some = world.store.read(ref.artifact_id).filter(pl.col("context_id") != "c0")
    world.put("teacher_lists", "teacher_lists", some, stage="recommend")
    rows = METRICS.build(world.job("catalog", "conversations", "teacher_lists", "candidates")).rows
    counted = {(r["system"], r["versus"]): r["n"] for r in rows.iter_rows(named=True)}
    assert counted == {
        ("teacher", None): 58,
        ("remapped", None): 60,
        ("remapped", "teacher"): 58,
        ("popularity", None): 60,
        ("knn", None): 60,
    }


def test_without_years_lines_are_titles_and_there_is_no_reference(world: Any) -> None:
    for role, kind in (("catalog", "catalog"), ("teacher_lists", "teacher_lists")):
        rows = world.store.read(world.refs[role].artifact_id)
        bare = rows.with_columns(pl.lit(None, pl.Int32).alias("year"))
        world.put(role, kind, bare)
    rows = METRICS.build(world.job("catalog", "conversations", "teacher_lists", "candidates")).rows
    assert set(rows["protocol"]) == {"standard"}
    found = metrics_json(rows)["metrics"]
    assert (found["teacher"]["format"], found["remapped"]["in_catalog"]) == (1, 1)
    assert found["remapped"]["recall@20"] > 0


def test_no_test_sample_is_one_clear_error(world: Any) -> None:
    ref = world.refs["conversations"]
    train = world.store.read(ref.artifact_id).filter(pl.col("split") == "train")
    world.put("conversations", "conversations", train)
    with pytest.raises(InputError, match="nothing can be measured"):
        METRICS.build(world.job("catalog", "conversations", "candidates"))


def test_the_key_holds_what_changes_the_rows(world: Any) -> None:
    job = world.job("catalog", "conversations", "candidates")
    before = METRICS.spec(job).artifact_id
    other = world.config.model_copy(update={"seed": 8})
    assert METRICS.spec(Job(other, world.store, job.parents)).artifact_id != before
    busy = world.config.llm.model_copy(update={"max_concurrency": 2})
    same = world.config.model_copy(update={"llm": busy})
    assert METRICS.spec(Job(same, world.store, job.parents)).artifact_id == before


def test_several_draws_are_averaged_before_the_samples(world: Any) -> None:
    ref = world.refs["generations_sft"]
    rows = world.store.read(ref.artifact_id)
    blank = rows.with_columns(
        pl.when(pl.col("draw") == 0).then(pl.lit("")).otherwise("completion").alias("completion")
    )
    first = metrics_json(METRICS.build(world.job()).rows)["metrics"]["sft"]["exact_n"]
    world.put("generations_sft", "generations", blank, stage="evaluate")
    halved = metrics_json(METRICS.build(world.job()).rows)["metrics"]["sft"]["exact_n"]
    assert math.isclose(first, 1.0)
    assert math.isclose(halved, 0.5)
