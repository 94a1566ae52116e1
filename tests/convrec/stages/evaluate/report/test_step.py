"""The report: one file, nothing loaded, posts only ever read."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import polars as pl
import pytest

from convrec.config import Config
from convrec.stages.evaluate import METRICS, REPORT
from convrec.stages.evaluate.report.context import command, simulated
from convrec.stages.evaluate.report.markdown import WIDEST, evaluation_markdown


@pytest.fixture(scope="module")
def page(whole_world: Any) -> str:
    world = whole_world
    world.put("metrics", "metrics", METRICS.build(world.ctx()).rows, stage="evaluate")
    ctx = world.ctx(scratch=True)
    built = REPORT.build(ctx)
    content = (ctx.scratch / "report.html").read_bytes()
    assert built.rows.rows() == [("report.html", hashlib.sha256(content).hexdigest())]
    return content.decode()


def test_the_tables_for_prefect_are_as_narrow_as_its_page(whole_world: Any) -> None:
    metrics = METRICS.build(whole_world.ctx()).rows
    wanted = pl.col("slice") == "wanted: tail items"
    months = [f"month: 2022-{month:02}" for month in range(1, 8)]
    more = [metrics.filter(wanted).with_columns(slice=pl.lit(month)) for month in months]
    tables = evaluation_markdown(pl.concat([metrics, *more]))
    rows = [line for line in tables.splitlines() if line.startswith("|")]
    assert max(row.count("|") for row in rows) == WIDEST + 2
    for heading in ("| system | in_catalog |", "| wanted |", "| month | 2022-01 (", "2022-07 ("):
        assert heading in tables


def test_a_post_cannot_run_anything(page: str) -> None:
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    assert not re.search(r"https?://", page)
    assert "@import" not in page
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["data:,"]
    assert len(page) < 2_000_000


def test_it_says_what_is_simulated_and_how_to_do_it_again(page: str, world: Any) -> None:
    assert "Simulated teacher and judge." in page
    assert "convrec run made-up" in page
    for role in ("catalog", "checkpoint_rank_grpo", "metrics"):
        assert world.refs[role].artifact_id in page
    assert "&lt;b&gt;row&lt;/b&gt;" in page
    assert "validation loss" in page


def test_it_goes_without_what_a_run_skipped(world: Any) -> None:
    base = ("catalog", "conversations", "candidates")
    world.put("metrics", "metrics", METRICS.build(world.ctx(*base)).rows, stage="evaluate")
    ctx = world.ctx(*base, "metrics", scratch=True)
    REPORT.build(ctx)
    text = (ctx.scratch / "report.html").read_text(encoding="utf-8")
    assert "remapped" in text
    assert "Differences on the same samples" not in text
    assert "Training" not in text


def test_a_real_teacher_has_no_banner() -> None:
    assert simulated(Config()) == []
    judged = Config.model_validate({"reflect": {"model": "demo-judge"}})
    assert simulated(judged) == ["judge"]
    unjudged = {"reflect": {"model": "demo-judge", "enabled": False}}
    assert simulated(Config.model_validate(unjudged)) == []


def test_the_command_names_what_differs_from_the_profile(tmp_path: Any) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text("seed = 3\n[rank_grpo]\nsteps = 5\n", encoding="utf-8")
    config = Config.model_validate(
        {
            "profile": str(profile),
            "seed": 3,
            "rank_grpo": {"steps": 9, "reward": "log"},
            "llm": {"max_concurrency": 2},
        }
    )
    expected = f"convrec run {profile} --set rank_grpo.reward=log --set rank_grpo.steps=9"
    assert command(config) == expected
    # what a profile keeps of its path
    assert command(config.model_copy(update={"profile": "mine"})) == "convrec run mine.toml"


def test_it_shows_the_noise_the_parts_and_how_popular(page: str) -> None:
    for heading in ("For whom", "How popular, how many", "Do ratings tell hits from misses?"):
        assert heading in page
    assert "ground truths" not in page  # all samples of this world have two
    assert "wanted: tail items" in page
    assert "detectable" in page
    assert "protocol per-label" in page
    assert "&#34;&gt;&lt;img onerror" in page  # a title that a teacher made up


def test_a_given_checkpoint_is_in_the_command(world: Any) -> None:
    world.refs["generations_checkpoint"] = world.refs["generations_sft"]
    world.put("metrics", "metrics", METRICS.build(world.ctx()).rows, stage="evaluate")
    ctx = world.ctx(scratch=True)
    REPORT.build(ctx)
    text = (ctx.scratch / "report.html").read_text(encoding="utf-8")
    assert "convrec evaluate --checkpoint FOLDER --profile made-up" in text
