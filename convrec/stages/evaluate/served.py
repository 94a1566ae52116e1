"""The system `served`: what `convrec recommend` writes for each test conversation.

The final checkpoint, its own settings and its own catalog, by the function that serves. Titles that
the conversation names are left out, and the choice is greedy, so there is one list a post.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import polars as pl

from convrec.artifacts import StepResult
from convrec.config import Config
from convrec.errors import InputError
from convrec.models.manifest import serving_config
from convrec.stages.base import StepContext
from convrec.stages.evaluate.held_out_posts import (
    COLUMNS,
    generation_rows,
    generations_step,
    list_catalog,
    read_test_posts,
)

_LOG = logging.getLogger(__name__)


def _build(ctx: StepContext) -> StepResult:
    checkpoint = ctx.parents["checkpoint"].artifact_id
    config = serving_config(ctx.store.read(checkpoint)["manifest"][0])
    return serve_posts(ctx, ctx.store.fetch_folder(checkpoint), config)


def serve_posts(ctx: StepContext, folder: Path, serving: Config) -> StepResult:
    """Write the list of `convrec recommend` for each test post, with the settings `serving`.

    No rows if recommendations are impossible: the model cannot be constrained, or the catalog has
    too few items. A post that names too many items has an empty list.
    """
    from convrec.stages.evaluate.sampling import fit_served, run_sampling

    test = read_test_posts(ctx)
    evaluate = ctx.config.evaluate.model_copy(update={"samples": 1, "vllm": False})
    config = serving.model_copy(update={"train": ctx.config.train, "evaluate": evaluate})
    texts = test.posts["conversation"].to_list()
    try:
        frames = {
            "prompts": pl.DataFrame({"prompt": texts}, {"prompt": pl.String}),
            "items": list_catalog(ctx).select("item_id", "title", "year"),
        }
        sampled = run_sampling(fit_served, ctx, config, frames, folder)
    except InputError as error:
        _LOG.warning("there is no system `served`, because %s", error)
        return StepResult(pl.DataFrame(schema=COLUMNS), {"not served": str(error)})
    without = sum(not lists for lists in sampled.lists)
    figures = {
        "posts": len(texts),
        "lists a post": 1,
        "temperature": 0.0,
        "sampler": "constrained",
        **sampled.figures,
        "posts without a list": without,
    }
    if without == len(texts):
        return StepResult(pl.DataFrame(schema=COLUMNS), figures)
    lists = [[one.text for one in lists] or [""] for lists in sampled.lists]
    return StepResult(generation_rows("served", test, lists), figures)


def served_config(config: Config) -> dict[str, Any]:
    """What the checkpoint's own settings leave open."""
    return {"served": True, **config.evaluate.identity_settings("limit")}


SERVED_GENERATIONS = generations_step(_build, served_config)
"""Parents: `conversations`, `checkpoint`."""
