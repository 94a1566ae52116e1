from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import polars as pl
import pytest

from convrec.errors import InputError
from convrec.pipeline.experiments.ablation import search
from convrec.pipeline.experiments.ablation.search import SEARCH, VARIED, around
from convrec.pipeline.experiments.ablation.sensitivity import (
    chosen_text,
    sensitivity_svg,
    varied_settings,
)
from convrec.pipeline.experiments.ablation.tables import search_markdown
from convrec.stages.base import StepContext

HELPFUL = {"Alien (1979)": 2, "The Thing (1982)": 2, "Heat (1995)": 2, "Elf (2003)": 2}
HARMFUL = {title: -rating for title, rating in HELPFUL.items()}


@pytest.fixture(autouse=True)
def few_multiples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MULTIPLES", (0.0, 1.0, 2.0))


def chosen(rows: pl.DataFrame, name: str) -> dict[str, float]:
    return rows.filter((pl.col("round") == name) & pl.col("chosen")).row(0, named=True)


def test_every_round_has_one_best_and_one_chosen_setting(
    make_ctx: Callable[..., StepContext],
) -> None:
    rows = SEARCH.build(make_ctx(HELPFUL)).rows
    rounds = ["remap", "reflect", "length", *VARIED.values()]
    assert rows["round"].unique(maintain_order=True).to_list() == rounds
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


def test_the_test_split_chooses_nothing(make_ctx: Callable[..., StepContext]) -> None:
    ctx = make_ctx(HELPFUL)
    on_validation = pl.col("round") != VARIED["test"]
    rows = SEARCH.build(ctx).rows
    conversations = ctx.frames["conversations"]
    changed = conversations.with_columns(
        pl.when(pl.col("split") != "test")
        .then(pl.col("ground_truth"))
        .otherwise(pl.col("ground_truth").list.head(1))
        .alias("ground_truth")
    )
    other = StepContext(ctx.config, ctx.store, frames={**ctx.frames, "conversations": changed})
    changed_rows = SEARCH.build(other).rows
    assert changed_rows.filter(on_validation).equals(rows.filter(on_validation))
    assert not changed_rows.equals(rows)


def test_settings_are_varied_one_at_a_time(make_ctx: Callable[..., StepContext]) -> None:
    rows = SEARCH.build(make_ctx(HARMFUL)).rows
    varied = varied_settings(rows)
    assert list(varied) == ["similarity_weight", "conversation_weight", "weight", "top"]
    for name, tried in (("similarity_weight", [0.0, 0.3, 0.6]), ("top", [3, 4])):
        assert varied[name][name].unique().sort().to_list() == tried
    for table in varied.values():
        profile = table.filter("configured")
        assert set(profile["round"]) == set(VARIED.values())
        assert set(profile["gain"]) == set(profile["gain_low"]) == {0.0}
        assert (table["gain_low"] <= table["gain"] + 1e-9).all()
        assert (table["gain"] <= table["gain_high"] + 1e-9).all()
    unheard = varied["weight"].filter(pl.col("weight") == 0, pl.col("round") == VARIED["test"])
    assert unheard["gain"].item() > 0  # without the harmful judge
    svg = ElementTree.fromstring(sensitivity_svg(rows))
    assert len(svg.findall("{*}svg")) == 4
    assert "weight of S 0.6 instead of 0.3, λ 0.6 instead of 0.3: +0." in chosen_text(rows)
    table = search_markdown(rows)
    assert "| λ, weight of the conversation | 0.3 | 0 to 0.6 |" in table
    assert "(data:image/svg+xml;base64," in table
    older = rows.filter(~pl.col("round").is_in(list(VARIED.values())))
    assert sensitivity_svg(older) == ""
    assert "--refresh evaluate" in search_markdown(older)


@pytest.mark.parametrize(("value", "tried"), [(0.4, [0.0, 0.4, 0.8]), (0.0, [0.0, 0.1, 0.3, 1.0])])
def test_settings_are_tried_around_those_of_the_profile(value: float, tried: list[float]) -> None:
    assert around(value) == tried


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
