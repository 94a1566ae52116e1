from __future__ import annotations

from collections.abc import Callable
from math import log2
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from convrec.pipeline.experiments.ablation import remap_variants
from convrec.pipeline.experiments.ablation.ladder import ABLATION, ladder_lists, missing_steps
from convrec.pipeline.experiments.ablation.remap_variants import with_remap
from convrec.pipeline.experiments.ablation.tables import ladder_markdown, ladder_rows
from convrec.stages.base import StepContext
from convrec.stages.remap import embedding


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


def test_descriptions_and_embeddings_are_steps(
    make_ctx: Callable[..., StepContext], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = make_ctx({"Alien (1979)": 2})
    assert list(missing_steps(plain.config)) == ["described", "embedded"]
    assert "described" not in ladder_lists(plain)
    assert ABLATION.inputs(plain) == {}
    monkeypatch.setattr(remap_variants, "find_spec", lambda name: object())
    assert "is not on this machine" in missing_steps(plain.config)["embedded"]
    monkeypatch.setattr(embedding, "LocalEncoder", Vowels)
    monkeypatch.setattr(remap_variants, "MAX_EMBEDDED", 3)  # of nine contexts
    changed = with_remap(plain.config, model=str(tmp_path), describe="facts")
    described = describe(plain.frames["catalog"])
    ctx = StepContext(changed, plain.store, frames={**plain.frames, "descriptions": described})
    assert missing_steps(changed) == {}
    assert ABLATION.inputs(ctx)["embeddings"].startswith("sentence-transformers")
    lists = ladder_lists(ctx)
    steps = ["raw", "fuzzy", "similar", "talk", "described", "embedded", "judged"]
    assert list(lists) == steps
    before = ladder_lists(plain)
    assert {name: lists[name] for name in steps[:4]} == {name: before[name] for name in steps[:4]}
    assert lists["embedded"]["test-space"] != lists["described"]["test-space"]
    rows = ABLATION.build(ctx).rows
    assert "embedded" not in rows.filter(pl.col("split") == "all")["step"].to_list()
    by_step = {s: value(rows, "test", s, "ndcg@20") for s in ("described", "embedded", "judged")}
    gain = by_step["judged"]["value"] - by_step["described"]["value"]  # embedded is a branch
    assert by_step["judged"]["gain"] == pytest.approx(gain)
    assert "| embeddings instead of TF-IDF |" in ladder_markdown(rows)


def test_a_profile_of_embeddings_has_its_own_step(
    make_ctx: Callable[..., StepContext], tmp_path: Path
) -> None:
    plain = make_ctx()
    config = with_remap(plain.config, similarity="sentence-transformers", model=str(tmp_path))
    ctx = StepContext(config, plain.store, frames=plain.frames)
    assert list(missing_steps(config)) == ["described"]
    lists = ladder_lists(ctx)
    assert list(lists) == ["raw", "fuzzy", "similar", "talk", "embedded"]
    assert lists["talk"] == ladder_lists(plain)["talk"]  # by TF-IDF
    assert "Without the step" in ladder_markdown(ABLATION.build(ctx).rows, missing_steps(config))


class Vowels:
    """An encoder without a model: how often each vowel is in a text."""

    def __init__(self, model: str) -> None:
        del model

    def vectors(self, texts: list[str]) -> np.ndarray:
        return np.array([[text.count(v) for v in "aeiou"] for text in texts], dtype=np.float32)


def describe(catalog: pl.DataFrame) -> pl.DataFrame:
    return catalog.select(
        "item_id",
        "title",
        "year",
        source=pl.lit("facts"),
        keywords=pl.lit(["film"], dtype=pl.List(pl.String)),
        plot="title",
    )
