from __future__ import annotations

from collections.abc import Callable
from math import log2

import polars as pl
import pytest

from convrec.pipeline.experiments.ablation.ladder import ABLATION, ladder_lists
from convrec.pipeline.experiments.ablation.tables import ladder_markdown, ladder_rows
from convrec.stages.base import StepContext


def value(rows: pl.DataFrame, split: str, step: str, metric: str) -> dict[str, float]:
    found = rows.filter(
        (pl.col("split") == split) & (pl.col("step") == step) & (pl.col("metric") == metric)
    )
    return found.row(0, named=True)


def test_each_step_adds_one_part(make_ctx: Callable[..., StepContext]) -> None:
    lists = {
        step: dict(texts) for step, texts in ladder_lists(make_ctx({"Alien (1979)": 2})).items()
    }
    space = {step: texts["test-space"].split("\n") for step, texts in lists.items()}
    assert space["raw"] == ["Thing, The (1982)", "Nowhere Film (1990)"]
    assert space["fuzzy"] == [
        "The Thing (1982)"
    ]  # linked; the title outside the catalog is left out
    assert space["similar"][0] == "The Thing (1982)"
    assert "Alien (1979)" in space["similar"]  # shares horror and monster with The Thing
    assert len(space["talk"]) == 3
    assert space["judged"].index("Alien (1979)") <= space["talk"].index("Alien (1979)")


def test_values_and_gains_by_hand(make_ctx: Callable[..., StepContext]) -> None:
    rows = ABLATION.build(make_ctx()).rows
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


def test_learned_steps_are_scored_on_test_alone(make_ctx: Callable[..., StepContext]) -> None:
    base = make_ctx({"Alien (1979)": 2})
    weights = base.frames["catalog"].select("item_id", weight=pl.lit(1.0), bias=pl.lit(0.0))
    ctx = StepContext(base.config, base.store, frames={**base.frames, "adjustment": weights})
    rows = ABLATION.build(ctx).rows
    steps = rows.group_by("split", maintain_order=True).agg(pl.col("step").unique().sort())
    by_split = dict(steps.iter_rows())
    assert set(by_split["test"]) - set(by_split["all"]) == {"adjusted"}
    judged, adjusted = (
        value(rows, "test", step, "ndcg@20")["value"] for step in ("judged", "adjusted")
    )
    assert adjusted == judged  # w = 1 and b = 0 change nothing


def test_tables_have_a_row_per_step(make_ctx: Callable[..., StepContext]) -> None:
    rows = ABLATION.build(make_ctx()).rows
    assert [row[0] for row in ladder_rows(rows, "test")] == [
        "raw, exact match",
        "+ fuzzy links",
        "+ similarity S",
        "+ conversation s_conv",
    ]
    assert "### all: 9 samples" in ladder_markdown(rows)
