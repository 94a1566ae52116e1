from __future__ import annotations

from collections.abc import Callable
from math import log2

import polars as pl
import pytest

from convrec.pipeline.experiments.ablation.ladder import ABLATION, rungs
from convrec.pipeline.experiments.ablation.tables import ladder_markdown, ladder_rows
from convrec.stages.base import StepContext


def value(rows: pl.DataFrame, split: str, step: str, metric: str) -> dict[str, float]:
    found = rows.filter(
        (pl.col("split") == split) & (pl.col("step") == step) & (pl.col("metric") == metric)
    )
    return found.row(0, named=True)


def test_each_rung_adds_one_thing(make_job: Callable[..., StepContext]) -> None:
    lists = {step: dict(texts) for step, texts in rungs(make_job({"Alien (1979)": 2})).items()}
    space = {step: texts["test-space"].split("\n") for step, texts in lists.items()}
    assert space["raw"] == ["Thing, The (1982)", "Nowhere Film (1990)"]
    assert space["fuzzy"] == ["The Thing (1982)"]  # linked, and what nobody has is left out
    assert space["similar"][0] == "The Thing (1982)"
    assert "Alien (1979)" in space["similar"]  # horror and monster, as The Thing
    assert len(space["talk"]) == 3
    assert space["judged"].index("Alien (1979)") <= space["talk"].index("Alien (1979)")


def test_values_and_gains_by_hand(make_job: Callable[..., StepContext]) -> None:
    rows = ABLATION.build(make_job()).rows
    ideal = 1 + 1 / log2(3)
    # Raw, exactly as written: no hit on space, rank 1 on crime (Ronin) and on child (Big).
    raw = value(rows, "test", "raw", "ndcg@20")
    assert raw["value"] == pytest.approx(2 / 3 / ideal)
    assert raw["gain"] is None
    # The link of "Thing, The" adds a hit at rank 1 of the first.
    fuzzy = value(rows, "test", "fuzzy", "ndcg@20")
    assert fuzzy["value"] == pytest.approx(1 / ideal)
    assert fuzzy["gain"] == pytest.approx(1 / 3 / ideal)
    assert fuzzy["gain_low"] <= fuzzy["gain"] <= fuzzy["gain_high"]
    assert value(rows, "test", "similar", "recall@20")["value"] > 1 / 2
    assert value(rows, "all", "raw", "ndcg@20")["n"] == 9


def test_what_is_learned_stands_for_test_alone(make_job: Callable[..., StepContext]) -> None:
    made = make_job({"Alien (1979)": 2})
    weights = made.frames["catalog"].select("item_id", weight=pl.lit(1.0), bias=pl.lit(0.0))
    ctx = StepContext(made.config, made.store, frames={**made.frames, "adjustment": weights})
    rows = ABLATION.build(ctx).rows
    steps = rows.group_by("split", maintain_order=True).agg(pl.col("step").unique().sort())
    by_split = dict(steps.iter_rows())
    assert set(by_split["test"]) - set(by_split["all"]) == {"adjusted"}
    judged, adjusted = (
        value(rows, "test", step, "ndcg@20")["value"] for step in ("judged", "adjusted")
    )
    assert adjusted == judged  # w = 1 and b = 0 change nothing


def test_tables_name_every_rung(make_job: Callable[..., StepContext]) -> None:
    rows = ABLATION.build(make_job()).rows
    assert [row[0] for row in ladder_rows(rows, "test")] == [
        "raw, exact match",
        "+ fuzzy links",
        "+ similarity S",
        "+ conversation s_conv",
    ]
    assert "### all: 9 samples" in ladder_markdown(rows)
