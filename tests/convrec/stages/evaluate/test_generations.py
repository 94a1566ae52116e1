"""Generations: one answer a post and draw, shared by the post's samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import convrec.models.generation.sample
from convrec.artifacts.tables import KINDS
from convrec.config import Config
from convrec.stages.evaluate import GENERATIONS


def test_a_post_is_answered_once_and_stands_for_its_samples(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, int, dict[str, Any]]] = []

    def sample_lists(folder: Path, prompts: list[str], **options: Any) -> list[list[str]]:
        asked.append((folder, len(prompts), options))
        return [[f"answer {k} {draw}" for draw in range(2)] for k, _ in enumerate(prompts)]

    monkeypatch.setattr(convrec.models.generation.sample, "sample_lists", sample_lists)
    world.refs["checkpoint"] = world.refs["checkpoint_rank_grpo"]
    rows = GENERATIONS.build(world.ctx("conversations", "checkpoint")).rows
    folder, prompts, options = asked[0]
    assert folder == world.store.folder(world.refs["checkpoint"].artifact_id)
    assert prompts == 30
    assert (options["samples"], options["temperature"], options["seed"]) == (2, 1.0, 7)
    assert rows.columns == list(KINDS["generations"])
    assert set(rows["system"]) == {"rank_grpo"}
    assert rows.height == 30 * 2 * 2
    shared = rows.filter((pl.col("context_id") == "c3") & (pl.col("draw") == 1))
    assert shared["sample_id"].to_list() == ["c3-0", "c3-1"]
    assert shared["completion"].to_list() == ["answer 3 1"] * 2


def test_constrained_lists_know_the_catalog_and_what_each_post_has_seen(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def sample_lists(folder: Path, prompts: list[str], **options: Any) -> list[list[str]]:
        given.update(options)
        return [["", ""] for _ in prompts]

    monkeypatch.setattr(convrec.models.generation.sample, "sample_lists", sample_lists)
    world.refs["checkpoint"] = world.refs["checkpoint_rank_grpo"]
    evaluate = world.config.evaluate.model_copy(update={"sampler": "constrained"})
    world.config = world.config.model_copy(update={"evaluate": evaluate})
    GENERATIONS.build(world.ctx("conversations", "checkpoint"))
    assert len(given["lines"]) == 60
    assert given["lines"][0] == "Film 0 (1960)"
    first = world.store.read(world.refs["conversations"].artifact_id)["seen"][0]
    assert given["seen"][0] == [*first, *first]  # two samples of one post
    assert len(given["seen"]) == 30
    keys = [GENERATIONS.config(world.config)["sampler"], GENERATIONS.config(Config())["sampler"]]
    assert keys == ["constrained", "distinct"]


def test_a_limit_answers_the_first_posts_alone(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def sample_lists(folder: Path, prompts: list[str], **_: Any) -> list[list[str]]:
        return [["", ""] for _ in prompts]

    monkeypatch.setattr(convrec.models.generation.sample, "sample_lists", sample_lists)
    world.refs["checkpoint"] = world.refs["checkpoint_sft"]
    whole = GENERATIONS.build(world.ctx("conversations", "checkpoint")).rows
    evaluate = world.config.evaluate.model_copy(update={"limit": 4})
    limited = world.config.model_copy(update={"evaluate": evaluate})
    world.config = limited
    rows = GENERATIONS.build(world.ctx("conversations", "checkpoint")).rows
    first = whole["context_id"].unique(maintain_order=True).to_list()[:4]
    assert rows.equals(whole.filter(pl.col("context_id").is_in(first)))
    assert "limit" not in GENERATIONS.config(Config())
    assert GENERATIONS.config(limited)["limit"] == 4
