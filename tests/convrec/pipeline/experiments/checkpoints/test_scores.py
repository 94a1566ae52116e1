"""Scores of several checkpoints: seeds, forms, paired differences and strata."""

from __future__ import annotations

import polars as pl
import pytest

from convrec.artifacts import ArtifactRef, StepResult, Store
from convrec.errors import InputError
from convrec.pipeline.experiments.checkpoints import find_contenders, scores_node
from convrec.pipeline.experiments.checkpoints.contenders import Form
from convrec.pipeline.experiments.checkpoints.scores import shown_cutoff
from convrec.pipeline.experiments.checkpoints.tables import scores_json, scores_markdown
from convrec.stages.base import StepContext
from tests.support.evaluated_run import EvaluatedRun, make_evaluated_run

SEEDS = (", seed 7", ", seed 8")
NO_FORMS: dict[Form, list[str]] = {"free": [], "served": []}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> EvaluatedRun:
    return make_evaluated_run(Store(tmp_path_factory.mktemp("run")))


def _checkpoint(run: EvaluatedRun, seed: int) -> str:
    row = ("model", "tiny", seed, f'{{"seed": {seed}}}')
    return run.put("checkpoint", "checkpoint", [row], stage="rank_grpo").artifact_id


@pytest.fixture(scope="module")
def scores(run: EvaluatedRun) -> StepResult:
    """SFT, and two seeds of rank_grpo; the lists of the second one are those of SFT."""
    sft, *seeds = (_checkpoint(run, seed) for seed in (5, 7, 8))
    systems = {"sft": [sft], "rank_grpo": seeds}
    contenders = find_contenders(run.store, systems, {"free": [], "served": ["rank_grpo"]})
    assert [x.row for x in contenders] == ["sft", *["rank_grpo", "rank_grpo served"] * 2]
    node = scores_node(contenders, ["popularity", "sft", "nothing"])
    lists = ["sft", "rank_grpo", "rank_grpo", "sft", "rank_grpo"]
    parents: dict[str, ArtifactRef] = {
        name: run.refs[name] for name in node.reads if name in run.refs
    }
    for contender, source in zip(contenders, lists, strict=True):
        parents[f"generations of {contender.role}"] = run.refs[f"generations_{source}"]
    return node.step.build(StepContext(run.config, run.store, parents))


def _value(rows: pl.DataFrame, system: str, versus: str | None = None) -> float:
    is_versus = pl.col("versus").is_null() if versus is None else pl.col("versus") == versus
    found = rows.filter(
        (pl.col("system") == system)
        & is_versus
        & pl.col("slice").is_null()
        & (pl.col("metric") == "ndcg@10")
    )
    assert found.height == 1
    return float(found["value"][0])


def test_a_system_is_the_mean_of_its_seeds(scores: StepResult) -> None:
    rows = scores.rows
    first, second = (_value(rows, f"rank_grpo, seed {seed}") for seed in (7, 8))
    assert second == pytest.approx(_value(rows, "sft"))
    assert first > second
    assert _value(rows, "rank_grpo") == pytest.approx((first + second) / 2)
    assert _value(rows, "rank_grpo", "sft") == pytest.approx((first - second) / 2)
    assert _value(rows, "rank_grpo, seed 8", "sft") == 0
    assert _value(rows, "rank_grpo served") == pytest.approx(first)


def test_pairs_are_of_contenders_with_other_systems(scores: StepResult) -> None:
    pairs = scores.rows.drop_nulls("versus").select("system", "versus").unique().rows()
    assert ("sft", "sft") not in pairs
    assert {b for _, b in pairs} == {"popularity", "sft"}
    assert {a for a, b in pairs if b == "popularity"} == {
        "sft",
        *(f"rank_grpo{form}{seed}" for form in ("", " served") for seed in ("", *SEEDS)),
    }


def test_strata_have_values_and_differences(scores: StepResult) -> None:
    inside = scores.rows.drop_nulls("slice")
    assert set(inside["slice"]) > {"named in training: never"}
    for versus in (None, "popularity"):
        pairs = inside.filter(pl.col("versus").eq_missing(pl.lit(versus)))
        assert "rank_grpo" in set(pairs["system"])
    never = inside.filter(pl.col("slice") == "named in training: never")
    popular = never.filter(pl.col("system") == "popularity", pl.col("versus").is_null())
    assert set(popular["value"]) == {0.0}


def test_tables_have_each_system_and_difference(scores: StepResult) -> None:
    tables = scores_markdown(scores.rows, scores.figures)
    assert tables.startswith("95% intervals are over 30 posts. All 120 ground truths are in")
    for text in ("| rank_grpo, seed 7 |", "| − popularity | − sft |", "in ndcg@10, named in"):
        assert text in tables
    found = scores_json(scores.rows, scores.figures)
    assert found["test_set"]["units"]["rank_grpo served"] == 30
    assert len(found["rows"]) == scores.rows.height


def test_versus_is_part_of_the_id(run: EvaluatedRun) -> None:
    contenders = find_contenders(run.store, {"sft": [_checkpoint(run, 3)]}, NO_FORMS)
    ctx = StepContext(run.config, run.store, {})
    ids = {scores_node(contenders, [x]).step.spec(ctx).artifact_id for x in ("knn", "teacher")}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("systems", "served", "message"),
    [
        ({"mine": ["checkpoint-0"]}, [], "checkpoint-0 is no checkpoint of this warehouse"),
        ({"knn": []}, [], "cannot be called knn"),
        ({"mine": []}, ["other"], "other has no checkpoint; choose from mine"),
    ],
)
def test_wrong_systems_are_refused(
    run: EvaluatedRun, systems: dict[str, list[str]], served: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        find_contenders(run.store, systems, {"free": [], "served": served})


def test_checkpoints_of_one_seed_are_told_apart(run: EvaluatedRun) -> None:
    ids = [_checkpoint(run, 9), _checkpoint(run, 9)]
    assert ids[0] != ids[1]
    seeds = [x.seed for x in find_contenders(run.store, {"mine": ids}, NO_FORMS)]
    assert seeds == [name[-6:] for name in ids]


@pytest.mark.parametrize(("length", "cutoff"), [(10, 10), (8, 10), (20, 20), (30, 20), (3, 5)])
def test_shown_cutoff_holds_a_whole_list(length: int, cutoff: int) -> None:
    assert shown_cutoff(length) == cutoff
