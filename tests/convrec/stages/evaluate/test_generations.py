"""Generations: the lists of a post are shared by its samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import convrec.models.generation.sample
from convrec.artifacts.tables import KINDS
from convrec.config import Config
from convrec.stages.evaluate import GENERATIONS
from tests.support.evaluated_run import EvaluatedRun


def test_samples_of_a_post_share_its_lists(
    evaluated_run: EvaluatedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Path, int, dict[str, Any]]] = []

    def sample_lists(folder: Path, prompts: list[str], **options: Any) -> list[list[str]]:
        calls.append((folder, len(prompts), options))
        return [[f"answer {k} {draw}" for draw in range(2)] for k, _ in enumerate(prompts)]

    monkeypatch.setattr(convrec.models.generation.sample, "sample_lists", sample_lists)
    evaluated_run.refs["checkpoint"] = evaluated_run.refs["checkpoint_rank_grpo"]
    rows = GENERATIONS.build(evaluated_run.ctx("conversations", "checkpoint")).rows
    folder, prompts, options = calls[0]
    assert folder == evaluated_run.store.folder(evaluated_run.refs["checkpoint"].artifact_id)
    assert prompts == 30
    assert (options["samples"], options["temperature"], options["seed"]) == (2, 1.0, 7)
    assert rows.columns == list(KINDS["generations"])
    assert set(rows["system"]) == {"rank_grpo"}
    assert rows.height == 30 * 2 * 2
    shared = rows.filter((pl.col("context_id") == "c3") & (pl.col("draw") == 1))
    assert shared["sample_id"].to_list() == ["c3-0", "c3-1"]
    assert shared["completion"].to_list() == ["answer 3 1"] * 2


def test_constrained_sampler_gets_catalog_and_seen(
    evaluated_run: EvaluatedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: dict[str, Any] = {}

    def sample_lists(folder: Path, prompts: list[str], **options: Any) -> list[list[str]]:
        passed.update(options)
        return [["", ""] for _ in prompts]

    monkeypatch.setattr(convrec.models.generation.sample, "sample_lists", sample_lists)
    evaluated_run.refs["checkpoint"] = evaluated_run.refs["checkpoint_rank_grpo"]
    evaluate = evaluated_run.config.evaluate.model_copy(update={"sampler": "constrained"})
    evaluated_run.config = evaluated_run.config.model_copy(update={"evaluate": evaluate})
    GENERATIONS.build(evaluated_run.ctx("conversations", "checkpoint"))
    assert len(passed["lines"]) == 60
    assert passed["lines"][0] == "Film 0 (1960)"
    first = evaluated_run.store.read(evaluated_run.refs["conversations"].artifact_id)["seen"][0]
    assert passed["seen"][0] == [*first, *first]  # two samples of one post
    assert len(passed["seen"]) == 30
    keys = [
        GENERATIONS.config(evaluated_run.config)["sampler"],
        GENERATIONS.config(Config())["sampler"],
    ]
    assert keys == ["constrained", "distinct"]


def test_limit_takes_the_first_posts(
    evaluated_run: EvaluatedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sample_lists(folder: Path, prompts: list[str], **_: Any) -> list[list[str]]:
        return [["", ""] for _ in prompts]

    monkeypatch.setattr(convrec.models.generation.sample, "sample_lists", sample_lists)
    evaluated_run.refs["checkpoint"] = evaluated_run.refs["checkpoint_sft"]
    whole = GENERATIONS.build(evaluated_run.ctx("conversations", "checkpoint")).rows
    evaluate = evaluated_run.config.evaluate.model_copy(update={"limit": 4})
    limited = evaluated_run.config.model_copy(update={"evaluate": evaluate})
    evaluated_run.config = limited
    rows = GENERATIONS.build(evaluated_run.ctx("conversations", "checkpoint")).rows
    first = whole["context_id"].unique(maintain_order=True).to_list()[:4]
    assert rows.equals(whole.filter(pl.col("context_id").is_in(first)))
    assert "limit" not in GENERATIONS.config(Config())
    assert GENERATIONS.config(limited)["limit"] == 4
