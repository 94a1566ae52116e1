"""The metrics of a comparison: means and intervals over seeds."""

from __future__ import annotations

import polars as pl
import pytest

from convrec.artifacts import Store
from convrec.pipeline.experiments.algorithms import TrainingRun, comparison_node
from convrec.pipeline.experiments.algorithms.tables import comparison_json, comparison_markdown
from convrec.stages.base import StepContext
from tests.support.evaluated_run import CONFIG, make_evaluated_run

SHAPED, CONTINUED = "rank_grpo:early=-1,exact=0", "sft:continued"
METRIC = "ndcg@5"


def row(metrics: pl.DataFrame, system: str, versus: str | None) -> dict[str, float]:
    """The row of METRIC."""
    same = pl.col("versus").is_null() if versus is None else pl.col("versus") == versus
    found = metrics.filter(pl.col("system") == system, same, pl.col("metric") == METRIC)
    (only,) = found.iter_rows(named=True)
    return only


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Rank-GRPO has learned nothing with seed 7 and everything with seed 8; SFT is continued."""
    run = make_evaluated_run(Store(tmp_path_factory.mktemp("home")))
    learned, not_learned = run.refs["generations_rank_grpo"], run.refs["generations_sft"]
    trainings = {
        TrainingRun(SHAPED, 4e-4, 7): not_learned,
        TrainingRun(SHAPED, 4e-4, 8): learned,
        TrainingRun(CONTINUED, 1e-3, 7, 10): not_learned,
    }
    node = comparison_node(trainings)
    refs = {training.generations_node().name: ref for training, ref in trainings.items()}
    refs |= {name: run.refs[name] for name in ("catalog", "conversations", "generations_sft")}
    parents = {role: refs[name] for role, name in node.inputs(CONFIG).items()}
    return node.step.build(StepContext(CONFIG, run.store, parents)).rows


def test_an_algorithm_is_the_mean_of_its_seeds(metrics: pl.DataFrame) -> None:
    seeds = [row(metrics, f"{SHAPED}, seed {seed}", None) for seed in (7, 8)]
    mean = row(metrics, SHAPED, None)
    assert seeds[0]["value"] < seeds[1]["value"]
    assert mean["value"] == pytest.approx((seeds[0]["value"] + seeds[1]["value"]) / 2)
    assert mean["n"] == seeds[0]["n"] > 0


def test_an_interval_covers_the_seeds(metrics: pl.DataFrame) -> None:
    low, high = (row(metrics, f"{SHAPED}, seed {seed}", None) for seed in (7, 8))
    mean = row(metrics, SHAPED, None)
    assert mean["low"] < low["value"]
    assert mean["high"] > high["value"]
    gain = row(metrics, SHAPED, "sft")
    assert gain["value"] == pytest.approx(mean["value"] - row(metrics, "sft", None)["value"])
    assert gain["low"] <= 0 < gain["high"]  # one of the seeds has learned nothing


def test_the_first_algorithm_is_compared_with_all_others(metrics: pl.DataFrame) -> None:
    same = row(metrics, CONTINUED, "sft")
    assert (same["value"], same["low"], same["high"]) == (0, 0, 0)
    gain = row(metrics, SHAPED, CONTINUED)
    assert gain["value"] == pytest.approx(row(metrics, SHAPED, "sft")["value"])
    assert {"popularity", "knn"} <= set(metrics["system"])


def test_the_table_has_a_row_for_each_system(metrics: pl.DataFrame) -> None:
    table = comparison_markdown(metrics, {SHAPED: 4e-4, CONTINUED: 1e-3})
    systems = set(metrics.filter(pl.col("versus").is_null())["system"])
    assert len(table.splitlines()) == 2 + len(systems)
    assert f"{SHAPED} over it" in table
    found = comparison_json(metrics)
    assert {entry["system"] for entry in found} == systems
    assert not [entry for entry in found if "@rank" in entry["metric"]]
