"""The `generations` artifact: the lists that a checkpoint writes for the test split.

By default lists are sampled without the catalog: a list ends after N lines, and each line is drawn
from those that differ from all earlier lines. Other values of `evaluate.sampler` sample freely,
with repeats and any length, or constrain lists to unseen catalog items. Each post gets
`evaluate.samples` lists, which all samples of the post share.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from convrec.artifacts import StepResult, file_digest
from convrec.artifacts.lineage import checkpoint_catalog
from convrec.config import Config
from convrec.errors import InputError
from convrec.models.identity import base_digest, first_token
from convrec.models.prompts import student_prompt
from convrec.stages.base import Step, StepContext

ListSampler = Callable[..., list[list[str]]]
"""`convrec.models.generation.sample.sample_texts` bound to a model."""


def _build(ctx: StepContext) -> StepResult:
    checkpoint = ctx.parents["checkpoint"]
    folder = ctx.store.fetch_folder(checkpoint.artifact_id)
    return _generate(ctx, checkpoint.stage, _folder_sampler(folder))


def _generate(ctx: StepContext, system: str, sample: ListSampler) -> StepResult:
    config = ctx.config
    test = ctx.frame("conversations").filter(pl.col("split") == "test")
    posts = test.unique("context_id", keep="first", maintain_order=True)
    if config.evaluate.limit:
        posts = posts.head(config.evaluate.limit)
        test = test.join(posts, on="context_id", how="semi", maintain_order="left")
    if posts.is_empty():
        raise InputError(
            "the test split has no conversation, so a checkpoint cannot be evaluated; "
            "check the split column of the conversations and the setting ingest.path"
        )
    lists = sample(
        [
            student_prompt(text, prompt, config)
            for text, prompt in posts.select("conversation", "prompt").iter_rows()
        ],
        config=config,
        samples=config.evaluate.samples,
        temperature=config.evaluate.temperature,
        seed=config.seed,
        progress=ctx.progress,
        **_catalog_options(ctx, test, posts["context_id"].to_list()),
    )
    lists_of = dict(zip(posts["context_id"], lists, strict=True))
    rows = [
        (system, sample_id, context, draw, text)
        for sample_id, context in test.select("sample_id", "context_id").iter_rows()
        for draw, text in enumerate(lists_of[context])
    ]
    columns = dict.fromkeys(("system", "sample_id", "context_id", "draw", "completion"), pl.String)
    schema = columns | {"draw": pl.Int32}
    figures = {
        "posts": posts.height,
        "lists a post": config.evaluate.samples,
        "seed": config.seed,
        "temperature": config.evaluate.temperature,
        "sampler": config.evaluate.sampler,
    }
    return StepResult(pl.DataFrame(rows, schema=schema, orient="row"), figures)


def _folder_sampler(folder: Path) -> ListSampler:
    from convrec.models.generation.sample import sample_lists

    return partial(sample_lists, folder)


def _sample_base(prompts: list[str], *, config: Config, **options: Any) -> list[list[str]]:
    import torch

    from convrec.models.generation.sample import sample_texts
    from convrec.models.load import load_student

    student = load_student(config.model.base, config=config.model)
    if torch.cuda.is_available():
        student.model.cuda()
    return sample_texts(student, prompts, config=config, **options)


def _catalog_options(ctx: StepContext, test: pl.DataFrame, contexts: list[str]) -> dict[str, Any]:
    """Options of the constrained sampler: catalog lines, and the seen titles of each context.

    The catalog is the parent `catalog`, or the one that the checkpoint was trained with.
    """
    if ctx.config.evaluate.sampler != "constrained":
        return {}
    if ctx.has("catalog"):
        items = ctx.frame("catalog")
    else:
        items = checkpoint_catalog(ctx.store, ctx.parents["checkpoint"].artifact_id)
    format_line = ctx.config.line_format.format
    seen: dict[str, list[dict[str, Any]]] = {}
    for context, titles in test.select("context_id", "seen").iter_rows():
        seen.setdefault(context, []).extend(titles or ())
    return {
        "lines": [
            format_line(title, year) for title, year in items.select("title", "year").iter_rows()
        ],
        "seen": [seen.get(context, []) for context in contexts],
    }


def _config(config: Config) -> dict[str, Any]:
    return {
        **config.evaluate.identity_settings("limit", "samples", "sampler", "temperature"),
        "seed": config.seed,
        "list_length": config.list_length,
        "domain": config.domain.noun,
        "years": config.recommend.years,
        "prompt": config.model.prompt,
        "max_prompt_tokens": config.model.max_prompt_tokens,
        "max_completion_tokens": config.model.max_completion_tokens,
        "bf16": config.model.bf16,
        **config.domain.identity_settings("plural", "line", "line_without_year", "student"),
    }


def external_checkpoint_step(folder: Path) -> Step:
    """Return the step that samples lists with the model in `folder`, trained elsewhere."""

    return Step(
        stage="evaluate",
        kind="generations",
        version=1,
        build=lambda ctx: _generate(ctx, "checkpoint", _folder_sampler(folder)),
        config=_config,
        inputs=lambda ctx: {"checkpoint": file_digest(folder), **first_token(folder)},
    )


GENERATIONS = Step(stage="evaluate", kind="generations", version=1, build=_build, config=_config)
"""Parents: `conversations`, `checkpoint`."""

BASE_GENERATIONS = Step(
    stage="evaluate",
    kind="generations",
    version=1,
    build=lambda ctx: _generate(ctx, "base", _sample_base),
    config=lambda config: {**_config(config), "base": config.model.base},
    inputs=lambda ctx: base_digest(ctx.config),
)
"""The student before any training, zero-shot. Parents: `conversations`, `catalog`."""
