from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from convrec.errors import InputError
from convrec.pipeline.experiments.ablation.search import SEARCH
from convrec.pipeline.experiments.ablation.tables import search_markdown
from convrec.stages.base import StepContext

HELPFUL = {"Alien (1979)": 2, "The Thing (1982)": 2, "Heat (1995)": 2, "Elf (2003)": 2}
HARMFUL = {title: -rating for title, rating in HELPFUL.items()}


def chosen(rows: pl.DataFrame, name: str) -> dict[str, float]:
    return rows.filter((pl.col("round") == name) & pl.col("chosen")).row(0, named=True)


def test_every_round_has_one_best_and_one_chosen_setting(
    make_ctx: Callable[..., StepContext],
) -> None:
    rows = SEARCH.build(make_ctx(HELPFUL)).rows
    assert rows["round"].unique(maintain_order=True).to_list() == ["remap", "reflect", "length"]
    for name in ("remap", "reflect", "length"):
        of_round = rows.filter(pl.col("round") == name)
        assert of_round["chosen"].sum() == of_round["best"].sum() == 1
        assert of_round.filter("best")["value"][0] == pytest.approx(of_round["value"].max())
        assert of_round["configured"].sum() in (0, 1)
    assert rows.filter(pl.col("round") == "remap")["configured"].sum() == 1


def test_a_harmful_judge_gets_weight_zero(make_ctx: Callable[..., StepContext]) -> None:
    rows = SEARCH.build(make_ctx(HARMFUL)).rows
    assert rows.filter((pl.col("round") == "reflect") & pl.col("best"))["weight"].to_list() == [0.0]


def test_the_configured_setting_is_kept_within_noise(
    make_ctx: Callable[..., StepContext],
) -> None:
    for name in ("remap", "length"):
        row = chosen(SEARCH.build(make_ctx()).rows, name)
        assert row["configured"]


def test_the_test_split_is_not_used(make_ctx: Callable[..., StepContext]) -> None:
    ctx = make_ctx(HELPFUL)
    rows = SEARCH.build(ctx).rows
    conversations = ctx.frames["conversations"]
    changed = conversations.with_columns(
        pl.when(pl.col("split") != "test")
        .then(pl.col("ground_truth"))
        .otherwise(pl.col("ground_truth").list.head(1))
        .alias("ground_truth")
    )
    other = StepContext(ctx.config, ctx.store, frames={**ctx.frames, "conversations": changed})
    assert SEARCH.build(other).rows.equals(rows)


def test_without_judgments_there_is_no_reflect_round(make_ctx: Callable[..., StepContext]) -> None:
    built = SEARCH.build(make_ctx())
    assert "reflect" not in built.rows["round"].to_list()
    assert "--set remap.similarity_weight=" in str(built.figures["remap: chosen"])
    assert "| remap |" in search_markdown(built.rows)


def test_a_missing_validation_split_is_an_error(make_ctx: Callable[..., StepContext]) -> None:
    ctx = make_ctx()
    conversations = ctx.frames["conversations"].filter(pl.col("split") != "validation")
    other = StepContext(
        ctx.config, ctx.store, frames={**ctx.frames, "conversations": conversations}
    )
    with pytest.raises(InputError, match="validation split has no conversation"):
        SEARCH.build(other)
