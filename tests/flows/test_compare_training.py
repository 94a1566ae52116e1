from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.errors import ConfigError
from convrec.pipeline.experiments.algorithms.tables import (
    comparison_markdown,
    convergence_svg,
    validation_curves,
)
from flows.compare_training import compare_training
from flows.pipeline import pipeline


def test_all_algorithms_start_from_one_checkpoint(home: Path, small: dict[str, Any]) -> None:
    built = pipeline(profile="demo", overrides=small)
    arguments = {
        "profile": "demo",
        "overrides": small,
        "algorithms": ["rank_grpo", "rank_grpo:log,no_sft", "grpo", "sft:continued"],
        "seeds": [7, 8],
        "learning_rates": {
            "rank_grpo": [1e-3],
            "rank_grpo:log,no_sft": [4e-4],
            "grpo": [1e-4, 4e-3],
            "sft:continued": [1e-3],
        },
    }
    first = compare_training(**arguments)
    store = Store(home)

    ids = {one for ids in first["trained"].values() for one in ids}
    assert len(ids) == 8
    (of_pipeline,) = [
        entry["artifact_id"]
        for entry in built["stages"]
        if (entry["stage"], entry["kind"]) == ("rank_grpo", "checkpoint")
    ]
    assert of_pipeline in first["trained"]["rank_grpo"]
    starts = {
        name: {store.header(one).parents["checkpoint"] for one in of_name}
        for name, of_name in first["trained"].items()
    }
    untrained = starts.pop("rank_grpo:log,no_sft")
    assert len(untrained) == 1
    assert {store.header(one).figures["steps"] for one in untrained} == {0}
    (start,) = {one for of_name in starts.values() for one in of_name}
    stages = {entry["artifact_id"]: entry["stage"] for entry in first["stages"]}
    assert stages[start] == "sft"
    continued = [store.header(one) for one in first["trained"]["sft:continued"]]
    assert {stages[one] for one in first["trained"]["sft:continued"]} == {"sft"}
    assert continued[0].figures["steps"] == continued[1].figures["steps"] > 0
    trained = ids - set(first["trained"]["sft:continued"])
    assert {store.header(one).figures["steps"] for one in trained} == {1}

    metrics = store.read(first["stages"][-1]["artifact_id"])
    systems = set(metrics.filter(metrics["versus"].is_null())["system"])
    assert {*arguments["algorithms"], "sft", "popularity", "knn"} <= systems
    assert {"grpo, seed 7", "grpo, seed 8"} <= systems
    values = {
        (row["system"], row["metric"]): row["value"]
        for row in metrics.filter(metrics["versus"].is_null()).iter_rows(named=True)
    }
    seeds = [values[f"grpo, seed {seed}", "ndcg@20"] for seed in (7, 8)]
    assert values["grpo", "ndcg@20"] == pytest.approx(sum(seeds) / 2)
    pairs = set(zip(metrics["system"], metrics["versus"], strict=True))
    assert {("rank_grpo", "sft"), ("rank_grpo", "grpo"), ("grpo", "sft")} <= pairs
    assert ("rank_grpo", "sft:continued") in pairs
    (row,) = [
        row
        for row in first["comparison"]
        if (row["system"], row["versus"], row["metric"]) == ("rank_grpo", "grpo", "ndcg@20")
    ]
    assert row["low"] <= row["value"] <= row["high"]
    expected = values["rank_grpo", "ndcg@20"] - values["grpo", "ndcg@20"]
    assert row["value"] == pytest.approx(expected)

    table = comparison_markdown(metrics, first["learning_rates"])
    assert len(table.splitlines()) == 2 + len(systems)
    curves = validation_curves(store, first["trained"])
    assert set(curves) == {"rank_grpo", "rank_grpo:log,no_sft", "grpo"}
    svg = convergence_svg(curves)
    assert svg.count("<polyline") == 3
    assert ">rank_grpo:log,no_sft</text>" in svg

    second = compare_training(**arguments)
    assert {entry["state"] for entry in second["stages"]} == {"cached"}
    assert second["learning_rates"] == first["learning_rates"]


def test_the_error_for_an_unknown_algorithm_lists_the_known(
    home: Path, small: dict[str, Any]
) -> None:
    pipeline(profile="demo", overrides=small, until="sft")
    with pytest.raises(ConfigError, match=r"unknown algorithm 'ppo': choose from rank_grpo, grpo"):
        compare_training(profile="demo", overrides=small, algorithms=["ppo"])
    with pytest.raises(ConfigError, match="exp:Γ"):
        compare_training(profile="demo", overrides=small, algorithms=["rank_grpo:linear"])
