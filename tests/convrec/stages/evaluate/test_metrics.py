"""The metrics artifact of an invented warehouse."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest

from convrec.artifacts.tables import KINDS
from convrec.errors import InputError
from convrec.stages.base import StepContext
from convrec.stages.evaluate import METRICS, metrics_json
from convrec.stages.evaluate.report.tables import spread_columns
from convrec.stages.evaluate.systems import SYSTEMS


def test_rows_of_every_system(world: Any) -> None:
    rows = METRICS.build(world.ctx()).rows
    assert rows.columns == list(KINDS["metrics"])
    plain = rows.filter(pl.col("versus").is_null() & (pl.col("protocol") == "standard"))
    assert set(plain["system"]) == set(SYSTEMS) - {"base", "checkpoint"}
    assert set(plain.filter(pl.col("slice").is_null())["n"]) == {60}
    assert (rows["low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["high"]).all()
    world.put("metrics", "metrics", rows, stage="evaluate")
    assert world.store.read(world.refs["metrics"].artifact_id).height == rows.height


def test_remapped_lists_have_no_seen_items(world: Any) -> None:
    found = metrics_json(METRICS.build(world.ctx()).rows)["metrics"]["remapped"]
    assert (found["seen"], found["exact_n"], found["in_catalog"]) == (0, 1, 1)


def test_teacher_lists_are_scored_as_written(world: Any) -> None:
    found = metrics_json(METRICS.build(world.ctx()).rows)["metrics"]["teacher"]
    assert found["format"] == found["in_catalog"]
    assert 0.7 < found["format"] < 0.9


def test_paired_differences(world: Any) -> None:
    found = metrics_json(METRICS.build(world.ctx()).rows)
    gain = {(c["a"], c["b"], c["metric"]): c for c in found["comparisons"]}
    by_hand = found["metrics"]["rank_grpo"]["ndcg@20"] - found["metrics"]["sft"]["ndcg@20"]
    paired = gain["rank_grpo", "sft", "ndcg@20"]
    assert paired["diff"] == pytest.approx(by_hand)
    assert paired["low"] > 0
    assert set(found["metrics"]["sft"]) == {
        *(f"{m}@{k}" for m in ("recall", "ndcg", "mrr", "hit") for k in (5, 10, 15, 20)),
        *("in_catalog", "format", "exact_n", "repeats", "seen"),
        *spread_columns(),
    }
    shares = [paired[outcome] for outcome in ("wins", "ties", "losses")]
    assert sum(shares) == pytest.approx(1)
    assert shares[0] > shares[2]
    assert 0 < paired["detectable"] < 0.3


def test_samples_without_a_list_are_left_out(world: Any) -> None:
    ref = world.refs["teacher_lists"]
    some = world.store.read(ref.artifact_id).filter(pl.col("context_id") != "c0")
    world.put("teacher_lists", "teacher_lists", some, stage="recommend")
    rows = METRICS.build(world.ctx("catalog", "conversations", "teacher_lists", "candidates")).rows
    whole = rows.filter((pl.col("protocol") == "standard") & pl.col("slice").is_null())
    counted = {(r["system"], r["versus"]): r["n"] for r in whole.iter_rows(named=True)}
    assert counted == {
        ("teacher", None): 58,
        ("remapped", None): 60,
        ("remapped", "teacher"): 58,
        ("popularity", None): 60,
        ("knn", None): 60,
    }


def test_catalog_without_years(world: Any) -> None:
    for role, kind in (("catalog", "catalog"), ("teacher_lists", "teacher_lists")):
        rows = world.store.read(world.refs[role].artifact_id)
        bare = rows.with_columns(pl.lit(None, pl.Int32).alias("year"))
        world.put(role, kind, bare)
    rows = METRICS.build(world.ctx("catalog", "conversations", "teacher_lists", "candidates")).rows
    assert set(rows["protocol"]) == {"standard", "per-label"}
    found = metrics_json(rows)["metrics"]
    assert (found["teacher"]["format"], found["remapped"]["in_catalog"]) == (1, 1)
    assert found["remapped"]["recall@20"] > 0


def test_no_test_sample_is_an_error(world: Any) -> None:
    ref = world.refs["conversations"]
    train = world.store.read(ref.artifact_id).filter(pl.col("split") == "train")
    world.put("conversations", "conversations", train)
    with pytest.raises(InputError, match="nothing can be measured"):
        METRICS.build(world.ctx("catalog", "conversations", "candidates"))


def test_id_depends_on_what_changes_the_rows(world: Any) -> None:
    ctx = world.ctx("catalog", "conversations", "candidates")
    before = METRICS.spec(ctx).artifact_id
    other = world.config.model_copy(update={"seed": 8})
    assert METRICS.spec(StepContext(other, world.store, ctx.parents)).artifact_id != before
    busy = world.config.llm.model_copy(update={"max_concurrency": 2})
    same = world.config.model_copy(update={"llm": busy})
    assert METRICS.spec(StepContext(same, world.store, ctx.parents)).artifact_id == before


def test_draws_of_a_sample_are_averaged(world: Any) -> None:
    ref = world.refs["generations_sft"]
    rows = world.store.read(ref.artifact_id)
    blank = rows.with_columns(
        pl.when(pl.col("draw") == 0).then(pl.lit("")).otherwise("completion").alias("completion")
    )
    first = metrics_json(METRICS.build(world.ctx()).rows)["metrics"]["sft"]["exact_n"]
    world.put("generations_sft", "generations", blank, stage="evaluate")
    halved = metrics_json(METRICS.build(world.ctx()).rows)["metrics"]["sft"]["exact_n"]
    assert math.isclose(first, 1.0)
    assert math.isclose(halved, 0.5)


def test_slices_add_up_to_the_test_set(world: Any) -> None:
    rows = METRICS.build(world.ctx()).rows
    found = rows.filter((pl.col("system") == "sft") & (pl.col("metric") == "ndcg@20"))
    parts = found.filter(pl.col("slice").str.starts_with("wanted"))
    assert parts["n"].sum() == 60
    whole = metrics_json(rows)["metrics"]["sft"]["ndcg@20"]
    assert (parts["value"] * parts["n"]).sum() / 60 == pytest.approx(whole)
    assert not found.filter(pl.col("slice").str.starts_with("month")).height


def test_catalog_spread(world: Any) -> None:
    found = metrics_json(METRICS.build(world.ctx()).rows)["metrics"]
    assert found["popularity"]["popularity_rank"] < found["sft"]["popularity_rank"]
    assert found["popularity"]["novelty"] < found["sft"]["novelty"]
    assert found["popularity"]["popularity_gini"] > found["sft"]["popularity_gini"]
    assert found["sft"]["catalog_coverage"] == 1
    assert 0 < found["popularity"]["catalog_coverage"] < 1


def test_per_label_rows(world: Any) -> None:
    rows = METRICS.build(world.ctx()).rows.filter(pl.col("protocol") == "per-label")
    plain = rows.filter(pl.col("versus").is_null())
    assert set(plain["n"]) == {120}
    values = {(r["system"], r["metric"]): r["value"] for r in plain.iter_rows(named=True)}
    assert values["sft", "recall@20"] == values["sft", "hit@20"]
    assert values["sft", "mrr@20"] <= values["sft", "ndcg@20"] <= values["sft", "recall@20"]


def test_reflected_lists_use_the_reflected_score(world: Any) -> None:
    found = metrics_json(METRICS.build(world.ctx()).rows)["metrics"]
    assert found["reflected"]["ndcg@20"] > found["remapped"]["ndcg@20"]
    assert (found["reflected"]["seen"], found["reflected"]["exact_n"]) == (0, 1)
