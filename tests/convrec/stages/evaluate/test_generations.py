"""Generations: a post's lists are shared by its samples; `free` and `served` are lists as well."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
import torch

from convrec.artifacts.tables import KINDS
from convrec.config import Config
from convrec.models import hardware
from convrec.models.load import Student, save_student
from convrec.models.tiny import make_tiny
from convrec.serving.recommend import recommend
from convrec.stages.base import StepContext
from convrec.stages.evaluate import (
    FREE_GENERATIONS,
    GENERATIONS,
    SERVED_GENERATIONS,
    metrics_json,
)
from convrec.stages.evaluate.generations import external_checkpoint_steps
from convrec.stages.evaluate.report.model_card import current_card
from tests.support.evaluated_run import ITEMS, POST, EvaluatedRun, N


def with_settings(config: Config, section: str, **settings: Any) -> Config:
    changed = getattr(config, section).model_copy(update=settings)
    return config.model_copy(update={section: changed})


def evaluate_with(run: EvaluatedRun, **settings: Any) -> StepContext:
    """The context of generations, with settings of section `evaluate`."""
    run.config = with_settings(run.config, "evaluate", **settings)
    return run.ctx("conversations", "checkpoint")


@pytest.fixture
def sampled_run(shared_run: EvaluatedRun) -> EvaluatedRun:
    """A run whose Rank-GRPO checkpoint is a random model; each post names a film."""
    run = shared_run.copy()
    short = {"prompt": "plain", "max_prompt_tokens": 64, "max_completion_tokens": 24}
    run.config = with_settings(run.config, "model", **short, hidden=16, layers=2, vocabulary=300)
    rows = run.store.read(run.refs["conversations"].artifact_id)
    names = "Seen Film " + pl.col("context_id").str.slice(1) + " and liked it"
    run.put("conversations", "conversations", rows.with_columns(conversation=names))
    checkpoint = run.put_checkpoint_files()
    texts = [POST, *(f"{title} ({year})" for _, title, year in ITEMS)]
    model, tokenizer = make_tiny(texts, run.config.model, seed=1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(6)
    save_student(Student(model, tokenizer), run.store.folder(checkpoint))
    return run


def test_samples_of_a_post_share_its_lists(sampled_run: EvaluatedRun) -> None:
    built = GENERATIONS.build(evaluate_with(sampled_run, limit=12))
    rows = built.rows
    assert rows.columns == list(KINDS["generations"])
    assert set(rows["system"]) == {"rank_grpo"}
    assert rows.height == 12 * 2 * 2
    of_post = rows.filter(pl.col("context_id") == "c3")
    first, second = (of_post.filter(pl.col("sample_id") == f"c3-{k}") for k in range(2))
    assert first["completion"].to_list() == second["completion"].to_list()
    assert first["draw"].to_list() == [0, 1]
    assert rows["completion"].n_unique() == 24
    assert 0.9 < built.figures.pop("cut lists") <= 1  # a random model goes on and on
    assert built.figures == {
        "posts": 12,
        "lists a post": 2,
        "seed": 7,
        "temperature": 1.0,
        "sampler": "distinct",
        "engine": "convrec",
        "processes": 1,
    }


def test_limit_takes_the_first_posts(sampled_run: EvaluatedRun) -> None:
    rows = GENERATIONS.build(evaluate_with(sampled_run, limit=4)).rows
    assert rows["context_id"].unique(maintain_order=True).to_list() == ["c0", "c1", "c2", "c3"]
    assert "limit" not in GENERATIONS.config(Config())
    assert GENERATIONS.config(sampled_run.config)["limit"] == 4


def test_constrained_lists_are_unseen_catalog_lines(sampled_run: EvaluatedRun) -> None:
    built = GENERATIONS.build(evaluate_with(sampled_run, sampler="constrained", limit=6))
    seen = sampled_run.store.read(sampled_run.refs["conversations"].artifact_id)
    titles = {c: {t["title"] for t in s} for c, s in seen.select("context_id", "seen").iter_rows()}
    catalog = {f"{title} ({year})" for _, title, year in ITEMS}
    assert built.rows.height == 6 * 2 * 2
    for context, text in built.rows.select("context_id", "completion").iter_rows():
        lines = text.split("\n")
        assert len(set(lines)) == N
        assert set(lines) <= catalog
        assert not titles[context] & {line[:-7] for line in lines}
    assert built.figures["cut lists"] == 0


def test_greedy_has_one_list_a_post(sampled_run: EvaluatedRun) -> None:
    ctx = evaluate_with(sampled_run, temperature=0.0, limit=5)
    built = GENERATIONS.build(ctx)
    assert (built.rows.height, built.figures["lists a post"]) == (5 * 2, 1)
    once = with_settings(sampled_run.config, "evaluate", samples=1)
    assert GENERATIONS.config(once) == GENERATIONS.config(sampled_run.config)
    other_seed = sampled_run.config.model_copy(update={"seed": 8})
    assert GENERATIONS.build(StepContext(other_seed, ctx.store, ctx.parents)).rows.equals(
        built.rows
    )


def test_large_models_sample_in_bf16_where_training_does(
    sampled_run: EvaluatedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = evaluate_with(sampled_run, limit=5)
    before = GENERATIONS.build(ctx)
    monkeypatch.setattr(hardware, "has_bf16", lambda: True)
    assert GENERATIONS.build(ctx).rows.equals(before.rows)  # a small model
    monkeypatch.setattr(hardware, "is_small", lambda model: False)
    rounded = GENERATIONS.build(ctx)
    assert rounded.figures == {**before.figures, "weights": "bfloat16"}
    assert not rounded.rows.equals(before.rows)
    exact = with_settings(sampled_run.config, "model", bf16=False)
    sampled_run.config = exact
    assert GENERATIONS.build(evaluate_with(sampled_run, limit=5)).rows.equals(before.rows)


def test_free_is_the_checkpoint_without_a_sampler(sampled_run: EvaluatedRun) -> None:
    ctx = evaluate_with(sampled_run, limit=5)
    free = FREE_GENERATIONS.build(ctx)
    assert set(free.rows["system"]) == {"free"}
    assert free.figures["sampler"] == "free"
    assert FREE_GENERATIONS.spec(ctx).artifact_id != GENERATIONS.spec(ctx).artifact_id
    ctx = evaluate_with(sampled_run, sampler="free")
    assert FREE_GENERATIONS.spec(ctx).artifact_id == GENERATIONS.spec(ctx).artifact_id
    same = GENERATIONS.build(ctx).rows
    assert same["completion"].to_list() == free.rows["completion"].to_list()


def test_served_is_what_convrec_recommend_writes(sampled_run: EvaluatedRun) -> None:
    ctx = evaluate_with(sampled_run, limit=4, temperature=0.7)
    built = SERVED_GENERATIONS.build(ctx)
    rows = built.rows.unique("context_id", maintain_order=True)
    checkpoint = sampled_run.refs["checkpoint"].artifact_id
    for context, text in rows.select("context_id", "completion").iter_rows():
        film = context.removeprefix("c")
        post = f"Seen Film {film} and liked it"
        expected = recommend(sampled_run.store, checkpoint, post).items
        assert text.split("\n") == expected
        assert f"Film {film} ({1960 + int(film)})" not in expected
    assert rows.height == 4
    assert built.figures["posts without a list"] == 0
    assert (built.figures["sampler"], built.figures["temperature"]) == ("constrained", 0)


def test_sampling_settings_do_not_move_served(sampled_run: EvaluatedRun) -> None:
    before = SERVED_GENERATIONS.spec(evaluate_with(sampled_run)).artifact_id
    free = evaluate_with(sampled_run, sampler="free", temperature=0.5, samples=4, vllm=True)
    assert SERVED_GENERATIONS.spec(free).artifact_id == before
    limited = SERVED_GENERATIONS.spec(evaluate_with(sampled_run, limit=3))
    assert limited.artifact_id != before


def test_there_is_no_served_with_a_catalog_that_is_too_small(sampled_run: EvaluatedRun) -> None:
    catalog = sampled_run.store.read(sampled_run.refs["catalog"].artifact_id).head(N)
    few = StepContext(
        with_settings(sampled_run.config, "evaluate", limit=N + 3),
        sampled_run.store,
        sampled_run.ctx("conversations", "checkpoint").parents,
        frames={"catalog": catalog},
    )
    built = SERVED_GENERATIONS.build(few)  # the first N posts name one of its N items
    assert built.figures["posts without a list"] == N
    texts = dict(built.rows.select("context_id", "completion").iter_rows())
    assert [bool(texts[f"c{k}"]) for k in range(N + 3)] == [False] * N + [True] * 3

    fewer = StepContext(few.config, few.store, few.parents, frames={"catalog": catalog.head(N - 1)})
    assert SERVED_GENERATIONS.build(fewer).rows.is_empty()


def test_free_and_served_are_systems(sampled_run: EvaluatedRun) -> None:
    ctx = evaluate_with(sampled_run, samples=1, limit=8)
    for name, step in (("free", FREE_GENERATIONS), ("served", SERVED_GENERATIONS)):
        sampled_run.refs[f"generations_{name}"] = sampled_run.store.put(
            step.spec(ctx), step.build(ctx)
        )
    found = metrics_json(sampled_run.put_metrics())
    assert set(found["metrics"]["served"]) == set(found["metrics"]["sft"])
    served = found["metrics"]["served"]
    assert (served["in_catalog"], served["exact_n"], served["repeats"]) == (1, 1, 0)
    assert found["metrics"]["free"]["exact_n"] == 0
    pairs = {(c["a"], c["b"]) for c in found["comparisons"]}
    assert {("served", "rank_grpo"), ("served", "free"), ("served", "knn")} <= pairs
    card = current_card(sampled_run.store, sampled_run.refs["checkpoint"].artifact_id)
    for system in ("rank_grpo (this)", "free (this)", "served (this)", "sft |"):
        assert f"| {system}" in card


def test_an_external_model_is_served_with_the_settings_of_the_profile(
    sampled_run: EvaluatedRun,
) -> None:
    sampled_run.config = with_settings(sampled_run.config, "evaluate", limit=3)
    checkpoint = sampled_run.refs["checkpoint"].artifact_id
    steps = external_checkpoint_steps(sampled_run.store.folder(checkpoint))
    ctx = sampled_run.ctx("conversations", "catalog")
    served = steps.served.build(ctx).rows
    own = SERVED_GENERATIONS.build(sampled_run.ctx("conversations", "checkpoint")).rows
    assert served["completion"].to_list() == own["completion"].to_list()
    assert set(steps.free.build(ctx).rows["system"]) == {"free"}
    ids = {step.spec(ctx).artifact_id for step in steps}
    assert len(ids) == 3
