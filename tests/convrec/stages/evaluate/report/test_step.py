"""The report: one self-contained file without scripts."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import polars as pl
import pytest

from convrec.config import Config
from convrec.stages.evaluate import METRICS, REPORT
from convrec.stages.evaluate.report.context import rerun_command, simulated_roles
from convrec.stages.evaluate.report.markdown import MAX_COLUMNS, evaluation_markdown
from tests.support.evaluated_run import EvaluatedRun


@pytest.fixture(scope="module")
def page(shared_run: EvaluatedRun) -> str:
    run = shared_run.copy()
    run.put_metrics()
    ctx = run.ctx(scratch=True)
    built = REPORT.build(ctx)
    content = (ctx.scratch / "report.html").read_bytes()
    assert run.refs["metrics"].artifact_id in content.decode()
    assert built.rows.rows() == [("report.html", hashlib.sha256(content).hexdigest())]
    return content.decode()


def test_markdown_tables_fit_prefects_page(shared_run: EvaluatedRun) -> None:
    metrics = METRICS.build(shared_run.ctx()).rows
    wanted = pl.col("slice").str.starts_with("named in training: over")
    months = [f"month: 2022-{month:02}" for month in range(1, 8)]
    more = [metrics.filter(wanted).with_columns(slice=pl.lit(month)) for month in months]
    tables = evaluation_markdown(pl.concat([metrics, *more]))
    rows = [line for line in tables.splitlines() if line.startswith("|")]
    assert max(row.count("|") for row in rows) == MAX_COLUMNS + 2
    for heading in (
        "| system | in_catalog |",
        "| named in training |",
        "| month | 2022-01 (",
        "2022-07 (",
    ):
        assert heading in tables


def test_posts_are_escaped(page: str) -> None:
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(" in page
    assert "default-src 'none'" in page


def test_nothing_is_loaded(page: str) -> None:
    assert not re.search(r"https?://", page)
    assert "@import" not in page
    assert re.findall(r'(?:src|href)="([^#"][^"]*)"', page) == ["data:,"]
    assert len(page) < 2_000_000


def test_simulation_command_and_lineage_are_shown(page: str, shared_run: EvaluatedRun) -> None:
    assert "Simulated teacher and judge." in page
    assert "convrec run made-up" in page
    for role in ("catalog", "checkpoint_rank_grpo", "generations_sft"):
        assert shared_run.refs[role].artifact_id in page
    assert "&lt;b&gt;row&lt;/b&gt;" in page
    assert "validation loss" in page


def test_the_contents_list_has_every_section(page: str) -> None:
    sections = re.findall(r'<h2 id="([^"]+)">([^<]+)</h2>', page)
    assert len(sections) == page.count("<h2") == len(dict(sections))
    assert re.findall(r'<a href="#([^"]+)">([^<]+)</a>', page) == sections
    assert {"Training: SFT", "Training: Rank-GRPO", "Examples"} <= {title for _, title in sections}


def test_date_and_verdict_come_before_all_sections(page: str, shared_run: EvaluatedRun) -> None:
    start = page[page.index("<h1>") : page.index("<h2")]
    created = shared_run.copy().store.headers("metrics")[-1].created_at
    assert f"Evaluated {created:%Y-%m-%d %H:%M} UTC." in start
    assert "Rank-GRPO ranks better than SFT</strong>: <span" in start
    assert "the 95% interval excludes 0" in start


def test_an_example_has_a_title_in_words(page: str) -> None:
    examples = page[page.index('<h2 id="examples">') : page.index('<h2 id="adjustment">')]
    titles = re.findall(r"<summary>(.*?)</summary>", examples)
    assert len([title for title in titles if title.startswith("Loved &lt;script&gt;")]) == 4
    assert not re.search(r"<summary>c\d+-\d", page)


def test_ndcg_is_the_first_metric_of_the_main_table(page: str) -> None:
    table = page[page.index('<h2 id="metrics">') :]
    columns = re.findall(r'<th scope="col">([^<]+)</th>', table)
    assert columns[:2] == ["system", "NDCG@20"]


def test_report_of_a_partial_run(evaluated_run: EvaluatedRun) -> None:
    base = ("catalog", "conversations", "candidates")
    evaluated_run.put_metrics(*base)
    ctx = evaluated_run.ctx(*base, "metrics", scratch=True)
    REPORT.build(ctx)
    text = (ctx.scratch / "report.html").read_text(encoding="utf-8")
    assert "remapped" in text
    assert "Differences on the same samples" not in text
    assert "Training" not in text


def test_real_teacher_has_no_banner() -> None:
    assert simulated_roles(Config()) == []
    with_judge = Config.model_validate({"reflect": {"model": "demo-judge"}})
    assert simulated_roles(with_judge) == ["judge"]
    without_judge = {"reflect": {"model": "demo-judge", "enabled": False}}
    assert simulated_roles(Config.model_validate(without_judge)) == []


def test_command_has_the_settings_that_differ(tmp_path: Any) -> None:
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
    assert rerun_command(config) == expected
    # the config of a profile that was a path has only its name
    assert rerun_command(config.model_copy(update={"profile": "mine"})) == "convrec run mine.toml"


def test_sections_of_the_report(page: str) -> None:
    for heading in (
        "Slices of the test set",
        "Popularity and coverage",
        "Calibration of the judge's ratings",
    ):
        assert heading in page
    assert "ground truths: " not in page  # every sample has two
    assert "named in training: never" in page
    assert "All 120 ground truths are in the catalog." in page
    assert "interval over posts" in page
    assert '<th scope="col">posts</th>' in page
    assert "detectable" in page
    assert "protocol per-label" in page
    assert "&#34;&gt;&lt;img onerror" in page  # a title of the teacher


def test_external_checkpoint_is_in_the_command(evaluated_run: EvaluatedRun) -> None:
    evaluated_run.refs["generations_checkpoint"] = evaluated_run.refs["generations_sft"]
    evaluated_run.put_metrics()
    ctx = evaluated_run.ctx(scratch=True)
    REPORT.build(ctx)
    text = (ctx.scratch / "report.html").read_text(encoding="utf-8")
    assert "convrec evaluate --checkpoint FOLDER --profile made-up" in text
