"""The metrics artifact of an invented warehouse."""

from __future__ import annotations

import math
import re

import polars as pl
import pytest

from convrec.artifacts.tables import KINDS
from convrec.errors import InputError
from convrec.stages.base import StepContext
from convrec.stages.evaluate import METRICS, metrics_json, slices
from convrec.stages.evaluate.report.tables import spread_columns
from convrec.stages.evaluate.systems import SYSTEMS
from tests.support.evaluated_run import EvaluatedRun


def test_rows_of_every_system(evaluated_run: EvaluatedRun) -> None:
    rows = METRICS.build(evaluated_run.ctx()).rows
    assert rows.columns == list(KINDS["metrics"])
    plain = rows.filter(pl.col("versus").is_null() & (pl.col("protocol") == "standard"))
    assert set(plain["system"]) == set(SYSTEMS) - {"base", "checkpoint", "free", "served"}
    assert set(plain.filter(pl.col("slice").is_null())["n"]) == {60}
    assert (rows["low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["high"]).all()
    evaluated_run.put("metrics", "metrics", rows, stage="evaluate")
    assert evaluated_run.store.read(evaluated_run.refs["metrics"].artifact_id).height == rows.height


def test_remapped_lists_have_no_seen_items(evaluated_run: EvaluatedRun) -> None:
    found = metrics_json(METRICS.build(evaluated_run.ctx()).rows)["metrics"]["remapped"]
    assert (found["seen"], found["exact_n"], found["in_catalog"]) == (0, 1, 1)


def test_teacher_lists_are_scored_as_written(evaluated_run: EvaluatedRun) -> None:
    found = metrics_json(METRICS.build(evaluated_run.ctx()).rows)["metrics"]["teacher"]
    assert found["format"] == found["in_catalog"]
    assert 0.7 < found["format"] < 0.9


def test_paired_differences(evaluated_run: EvaluatedRun) -> None:
    found = metrics_json(METRICS.build(evaluated_run.ctx()).rows)
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


def test_samples_without_a_list_are_left_out(evaluated_run: EvaluatedRun) -> None:
    ref = evaluated_run.refs["teacher_lists"]
    some = evaluated_run.store.read(ref.artifact_id).filter(pl.col("context_id") != "c0")
    evaluated_run.put("teacher_lists", "teacher_lists", some, stage="recommend")
    rows = METRICS.build(
        evaluated_run.ctx("catalog", "conversations", "teacher_lists", "candidates")
    ).rows
    whole = rows.filter((pl.col("protocol") == "standard") & pl.col("slice").is_null())
    counted = {(r["system"], r["versus"]): r["n"] for r in whole.iter_rows(named=True)}
    assert counted == {
        ("teacher", None): 58,
        ("remapped", None): 60,
        ("remapped", "teacher"): 58,
        ("popularity", None): 60,
        ("knn", None): 60,
    }


def test_a_renamed_item_is_still_hit_if_its_old_title_is_an_alias(
    evaluated_run: EvaluatedRun,
) -> None:
    roles = ("catalog", "conversations", "teacher_lists")
    catalog = evaluated_run.store.read(evaluated_run.refs["catalog"].artifact_id)
    lists = evaluated_run.store.read(evaluated_run.refs["teacher_lists"].artifact_id)
    before_id = METRICS.spec(evaluated_run.ctx(*roles)).artifact_id
    before = metrics_json(METRICS.build(evaluated_run.ctx(*roles)).rows)["metrics"]["teacher"]
    new_title = (pl.lit("New ") + pl.col("title")).alias("title")
    renamed = catalog.with_columns(new_title, aliases=pl.concat_list("title"))
    evaluated_run.put("catalog", "catalog", renamed)
    evaluated_run.put("teacher_lists", "teacher_lists", lists.with_columns(new_title))
    spec = METRICS.spec(evaluated_run.ctx(*roles))
    assert (spec.artifact_id != before_id, spec.inputs) == (True, {"aliases": "as titles"})
    after = metrics_json(METRICS.build(evaluated_run.ctx(*roles)).rows)["metrics"]["teacher"]
    assert before["recall@20"] > 0
    assert {name: after[name] for name in ("recall@20", "ndcg@20")} == {
        name: before[name] for name in ("recall@20", "ndcg@20")
    }


def test_catalog_without_years(evaluated_run: EvaluatedRun) -> None:
    for role, kind in (("catalog", "catalog"), ("teacher_lists", "teacher_lists")):
        rows = evaluated_run.store.read(evaluated_run.refs[role].artifact_id)
        bare = rows.with_columns(pl.lit(None, pl.Int32).alias("year"))
        evaluated_run.put(role, kind, bare)
    rows = METRICS.build(
        evaluated_run.ctx("catalog", "conversations", "teacher_lists", "candidates")
    ).rows
    assert set(rows["protocol"]) == {"standard", "per-label"}
    found = metrics_json(rows)["metrics"]
    assert (found["teacher"]["format"], found["remapped"]["in_catalog"]) == (1, 1)
    assert found["remapped"]["recall@20"] > 0


def test_no_test_sample_is_an_error(evaluated_run: EvaluatedRun) -> None:
    ref = evaluated_run.refs["conversations"]
    train = evaluated_run.store.read(ref.artifact_id).filter(pl.col("split") == "train")
    evaluated_run.put("conversations", "conversations", train)
    with pytest.raises(InputError, match="nothing can be measured"):
        METRICS.build(evaluated_run.ctx("catalog", "conversations", "candidates"))


def test_id_depends_on_what_changes_the_rows(evaluated_run: EvaluatedRun) -> None:
    ctx = evaluated_run.ctx("catalog", "conversations", "candidates")
    before = METRICS.spec(ctx).artifact_id
    other = evaluated_run.config.model_copy(update={"seed": 8})
    assert METRICS.spec(StepContext(other, evaluated_run.store, ctx.parents)).artifact_id != before
    busy = evaluated_run.config.llm.model_copy(update={"max_concurrency": 2})
    same = evaluated_run.config.model_copy(update={"llm": busy})
    assert METRICS.spec(StepContext(same, evaluated_run.store, ctx.parents)).artifact_id == before


def test_draws_of_a_sample_are_averaged(evaluated_run: EvaluatedRun) -> None:
    ref = evaluated_run.refs["generations_sft"]
    rows = evaluated_run.store.read(ref.artifact_id)
    blank = rows.with_columns(
        pl.when(pl.col("draw") == 0).then(pl.lit("")).otherwise("completion").alias("completion")
    )
    first = metrics_json(METRICS.build(evaluated_run.ctx()).rows)["metrics"]["sft"]["exact_n"]
    evaluated_run.put("generations_sft", "generations", blank, stage="evaluate")
    halved = metrics_json(METRICS.build(evaluated_run.ctx()).rows)["metrics"]["sft"]["exact_n"]
    assert math.isclose(first, 1.0)
    assert math.isclose(halved, 0.5)


def test_slices_of_properties_that_vary(evaluated_run: EvaluatedRun) -> None:
    rows = METRICS.build(evaluated_run.ctx()).rows
    found = rows.filter((pl.col("system") == "sft") & (pl.col("metric") == "ndcg@20"))
    assert found.filter(pl.col("slice").str.starts_with("named in training: ")).height > 1
    parts = found.filter(pl.col("slice").str.starts_with("conversation: "))
    assert not parts.height  # all conversations have one length
    assert not found.filter(pl.col("slice").str.starts_with("month")).height


def test_kinds_of_posts_make_slices(
    evaluated_run: EvaluatedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(slices.TAG_PATTERNS, evaluated_run.config.ingest.format, r"^c(1|2)\d")
    rows = METRICS.build(evaluated_run.ctx()).rows
    found = rows.filter((pl.col("system") == "sft") & (pl.col("metric") == "ndcg@20"))
    parts = found.filter(pl.col("slice").str.starts_with("constraint"))
    assert parts.select("slice", "n").rows() == [("constraint: 1", 20), ("constraint: 2", 20)]
    values = {*parts["value"], found.filter(pl.col("slice").is_null())["value"][0]}
    assert len(values) == 3


@pytest.mark.parametrize(
    ("name", "kind"), [("demo_test_12_0_title-like", "title-like"), ("d_1", "")]
)
def test_demo_posts_name_their_kind(name: str, kind: str) -> None:
    found = re.search(slices.TAG_PATTERNS["demo"], name)
    assert (found[1] if found else "") == kind


def test_intervals_over_dialogues(evaluated_run: EvaluatedRun) -> None:
    ctx = evaluated_run.ctx()
    posts = METRICS.build(ctx)
    turns = evaluated_run.config.ingest.model_copy(update={"dialogue": r"^(c\d)"})
    config = evaluated_run.config.model_copy(update={"ingest": turns})
    other = StepContext(config, evaluated_run.store, ctx.parents)
    dialogues = METRICS.build(other)
    assert METRICS.spec(other).artifact_id != METRICS.spec(ctx).artifact_id
    same = ("system", "versus", "protocol", "slice", "metric", "n")
    assert dialogues.rows.select(same).equals(posts.rows.select(same))
    detectable = pl.col("metric").str.starts_with("detectable")
    values = [made.rows.filter(~detectable)["value"] for made in (dialogues, posts)]
    assert (values[0] - values[1]).abs().max() == 0
    for part in (
        pl.col("versus").is_null() & pl.col("slice").is_null(),
        pl.col("versus").is_not_null(),
        pl.col("slice").str.starts_with("named in training"),
        pl.col("metric").is_in(["catalog_coverage", "popularity_gini"]),
        detectable,
    ):
        ours, theirs = (
            made.rows.filter(part).select("value", "low", "high") for made in (dialogues, posts)
        )
        assert ours.height
        assert not ours.equals(theirs)
    sets = [metrics_json(made.rows, made.figures)["test_set"] for made in (dialogues, posts)]
    assert [(x["unit"], x["units"]["sft"]) for x in sets] == [("dialogues", 10), ("posts", 30)]


def test_share_of_reachable_ground_truth(evaluated_run: EvaluatedRun) -> None:
    ref = evaluated_run.refs["catalog"]
    half = evaluated_run.store.read(ref.artifact_id).head(30)
    evaluated_run.put("catalog", "catalog", half)
    made = METRICS.build(evaluated_run.ctx("catalog", "conversations", "teacher_lists"))
    found = metrics_json(made.rows, made.figures)["test_set"]
    test = evaluated_run.store.read(evaluated_run.refs["conversations"].artifact_id)
    truths = test.filter(pl.col("split") == "test")["ground_truth"].explode().struct.field("title")
    known = truths.is_in(half["title"].implode())
    assert found["ground_truths"] == len(truths) == 120
    assert found["in_catalog"] == pytest.approx(known.mean(), abs=1e-4)
    assert 0.3 < found["in_catalog"] < 0.7


def test_catalog_spread(evaluated_run: EvaluatedRun) -> None:
    found = metrics_json(METRICS.build(evaluated_run.ctx()).rows)["metrics"]
    assert found["popularity"]["popularity_rank"] < found["sft"]["popularity_rank"]
    assert found["popularity"]["novelty"] < found["sft"]["novelty"]
    assert found["popularity"]["popularity_gini"] > found["sft"]["popularity_gini"]
    assert found["sft"]["catalog_coverage"] == 1
    assert 0 < found["popularity"]["catalog_coverage"] < 1


def test_per_label_rows(evaluated_run: EvaluatedRun) -> None:
    rows = METRICS.build(evaluated_run.ctx()).rows.filter(pl.col("protocol") == "per-label")
    plain = rows.filter(pl.col("versus").is_null())
    assert set(plain["n"]) == {120}
    values = {(r["system"], r["metric"]): r["value"] for r in plain.iter_rows(named=True)}
    assert values["sft", "recall@20"] == values["sft", "hit@20"]
    assert values["sft", "mrr@20"] <= values["sft", "ndcg@20"] <= values["sft", "recall@20"]


def test_reflected_lists_use_the_reflected_score(evaluated_run: EvaluatedRun) -> None:
    found = metrics_json(METRICS.build(evaluated_run.ctx()).rows)["metrics"]
    assert found["reflected"]["ndcg@20"] > found["remapped"]["ndcg@20"]
    assert (found["reflected"]["seen"], found["reflected"]["exact_n"]) == (0, 1)
