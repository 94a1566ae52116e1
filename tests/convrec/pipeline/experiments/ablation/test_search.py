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


def test_every_round_names_its_best_and_what_it_chose(make_job: Callable[..., StepContext]) -> None:
    rows = SEARCH.build(make_job(HELPFUL)).rows
    assert rows["round"].unique(maintain_order=True).to_list() == ["remap", "reflect", "length"]
    for name in ("remap", "reflect", "length"):
        of_round = rows.filter(pl.col("round") == name)
        assert of_round["chosen"].sum() == of_round["best"].sum() == 1
        assert of_round.filter("best")["value"][0] == pytest.approx(of_round["value"].max())
        assert of_round["configured"].sum() <= 1
    assert rows.filter(pl.col("round") == "remap")["configured"].sum() == 1


def test_a_judge_that_errs_is_given_no_weight(make_job: Callable[..., StepContext]) -> None:
    rows = SEARCH.build(make_job(HARMFUL)).rows
    assert rows.filter((pl.col("round") == "reflect") & pl.col("best"))["weight"].to_list() == [0.0]


def test_what_is_configured_stays_where_nothing_beats_it_beyond_noise(
    make_job: Callable[..., StepContext],
) -> None:
    for name in ("remap", "length"):
        row = chosen(SEARCH.build(make_job()).rows, name)
        assert row["configured"]


def test_the_test_split_plays_no_part(make_job: Callable[..., StepContext]) -> None:
    made = make_job(HELPFUL)
    rows = SEARCH.build(made).rows
    talks = made.frames["conversations"]
    wrong = talks.with_columns(
        pl.when(pl.col("split") != "test")
        .then(pl.col("ground_truth"))
        .otherwise(pl.col("ground_truth").list.head(1))
        .alias("ground_truth")
    )
    other = StepContext(made.config, made.store, frames={**made.frames, "conversations": wrong})
    assert SEARCH.build(other).rows.equals(rows)


def test_without_a_judge_the_second_round_is_left_out(make_job: Callable[..., StepContext]) -> None:
    built = SEARCH.build(make_job())
    assert "reflect" not in built.rows["round"].to_list()
    assert "--set remap.similarity_weight=" in str(built.figures["remap: chosen"])
    assert "| remap |" in search_markdown(built.rows)


def test_no_validation_split_is_one_sentence(make_job: Callable[..., StepContext]) -> None:
    made = make_job()
    talks = made.frames["conversations"].filter(pl.col("split") != "validation")
    ctx = StepContext(made.config, made.store, frames={**made.frames, "conversations": talks})
    with pytest.raises(InputError, match="validation split has no conversation"):
        SEARCH.build(ctx)
