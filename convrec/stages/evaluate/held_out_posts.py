"""The test posts that lists are made for, and the rows of a `generations` artifact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import polars as pl

from convrec.artifacts import StepResult
from convrec.artifacts.lineage import checkpoint_catalog
from convrec.config import Config
from convrec.errors import InputError
from convrec.stages.base import Step, StepContext
from convrec.stages.contexts import split_rows

COLUMNS = {
    "system": pl.String,
    "sample_id": pl.String,
    "context_id": pl.String,
    "draw": pl.Int32,
    "completion": pl.String,
}
"""Columns of a `generations` artifact."""


class HeldOutPosts(NamedTuple):
    """The samples of the test split, and one row for each post: that of its first sample."""

    samples: pl.DataFrame
    posts: pl.DataFrame


def read_test_posts(ctx: StepContext) -> HeldOutPosts:
    """The test split, up to `evaluate.limit` posts. Raises InputError if it is empty."""
    columns = ("sample_id", "context_id", "conversation", "prompt", "seen")
    test = split_rows(ctx, "conversations", "test", *columns)
    posts = test.unique("context_id", keep="first", maintain_order=True)
    if limit := ctx.config.evaluate.limit:
        posts = posts.head(limit)
        test = test.join(posts, on="context_id", how="semi", maintain_order="left")
    if posts.is_empty():
        raise InputError(
            "the test split has no conversation, so a checkpoint cannot be evaluated; "
            "check the split column of the conversations and the setting ingest.path"
        )
    return HeldOutPosts(test, posts)


def generation_rows(
    system: str, test: HeldOutPosts, texts: Sequence[Sequence[str]]
) -> pl.DataFrame:
    """The rows of an artifact: the `texts` of each post, for all of its samples."""
    lists_of = dict(zip(test.posts["context_id"], texts, strict=True))
    rows = [
        (system, sample_id, context, draw, text)
        for sample_id, context in test.samples.select("sample_id", "context_id").iter_rows()
        for draw, text in enumerate(lists_of[context])
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def list_catalog(ctx: StepContext) -> pl.DataFrame:
    """The parent `catalog`, or the one that the checkpoint was trained with."""
    if ctx.has("catalog"):
        return ctx.frame("catalog")
    return checkpoint_catalog(ctx.store, ctx.parents["checkpoint"].artifact_id)


def _no_inputs(ctx: StepContext) -> dict[str, str]:
    return {}


def generations_step(
    build: Callable[[StepContext], StepResult],
    config: Callable[[Config], dict[str, Any]],
    inputs: Callable[[StepContext], dict[str, str]] = _no_inputs,
) -> Step:
    """A step that makes a `generations` artifact."""
    return Step(
        stage="evaluate", kind="generations", version=1, build=build, config=config, inputs=inputs
    )
