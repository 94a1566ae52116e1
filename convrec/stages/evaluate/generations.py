"""The `generations` artifact: what a checkpoint writes for the test split.

By default a list is sampled without any catalog: it ends when N lines are written, and each
line is drawn given that it is none of those before. `evaluate.sampler` also has the free model,
whose repeats and length are its own, and lists that are constrained to the unseen lines of the
catalog. A post is answered once a draw, and its answers stand for every sample that shares the
post.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.artifacts import StepResult, file_digest
from convrec.errors import InputError
from convrec.models.identity import base_digest
from convrec.stages.base import Step, StepContext

if TYPE_CHECKING:
    import polars as pl

    from convrec.config import Config

Write = Callable[..., list[list[str]]]
"""`sample_lists` for one model: lists for prompts, with the same options."""


def _build(ctx: StepContext) -> StepResult:
    checkpoint = ctx.parents["checkpoint"]
    return _built(ctx, checkpoint.stage, _of_folder(ctx.store.fetched(checkpoint.artifact_id)))


def _build_base(ctx: StepContext) -> StepResult:
    return _built(ctx, "base", _of_base)


def _built(ctx: StepContext, system: str, write: Write) -> StepResult:
    import polars as pl

    config = ctx.config
    test = ctx.frame("conversations").filter(pl.col("split") == "test")
    posts = test.unique("context_id", keep="first", maintain_order=True)
    if ctx.config.evaluate.limit:
        posts = posts.head(ctx.config.evaluate.limit)
        test = test.join(posts, on="context_id", how="semi", maintain_order="left")
    if posts.is_empty():
        raise InputError(
            "the test split has no conversation, so a checkpoint cannot be evaluated; "
            "look at the split column of the conversations and at ingest.path"
        )
    of_context = dict(zip(posts["context_id"], _lists(ctx, test, posts, write), strict=True))
    rows = [
        (system, sample, context, draw, text)
        for sample, context in test.select("sample_id", "context_id").iter_rows()
        for draw, text in enumerate(of_context[context])
    ]
    schema = {
        "system": pl.String,
        "sample_id": pl.String,
        "context_id": pl.String,
        "draw": pl.Int32,
        "completion": pl.String,
    }
    figures = {
        "posts": posts.height,
        "lists a post": config.evaluate.samples,
        "seed": config.seed,
        "temperature": config.evaluate.temperature,
        "sampler": config.evaluate.sampler,
    }
    return StepResult(pl.DataFrame(rows, schema=schema, orient="row"), figures)


def _lists(
    ctx: StepContext, test: pl.DataFrame, posts: pl.DataFrame, write: Write
) -> list[list[str]]:
    """The lists for each post."""
    from convrec.models.prompts import student_prompt

    config = ctx.config
    prompts = [
        student_prompt(text, given, config)
        for text, given in posts.select("conversation", "prompt").iter_rows()
    ]
    return write(
        prompts,
        config=config,
        samples=config.evaluate.samples,
        temperature=config.evaluate.temperature,
        seed=config.seed,
        progress=ctx.progress,
        **_catalog(ctx, test, posts["context_id"].to_list()),
    )


def _of_folder(folder: Path) -> Write:
    def write(prompts: list[str], **options: Any) -> list[list[str]]:
        from convrec.models.generation.sample import sample_lists

        lists: list[list[str]] = sample_lists(folder, prompts, **options)
        return lists

    return write


def _of_base(prompts: list[str], *, config: Config, **options: Any) -> list[list[str]]:
    import torch

    from convrec.models.generation.sample import sample_texts
    from convrec.models.load import load_student

    student = load_student(config.model.base, config=config.model)
    if torch.cuda.is_available():
        student.model.cuda()
    return sample_texts(student, prompts, config=config, **options)


def _catalog(ctx: StepContext, test: pl.DataFrame, contexts: list[str]) -> dict[str, Any]:
    """For the constrained sampler: the catalog's lines, and what each context's samples have seen.

    The catalog is the run's, or else the one that the checkpoint was trained with.
    """
    if ctx.config.evaluate.sampler != "constrained":
        return {}
    from convrec.artifacts.lineage import catalog_of

    if ctx.has("catalog"):
        items = ctx.frame("catalog")
    else:
        items = catalog_of(ctx.store, ctx.parents["checkpoint"].artifact_id)
    write = ctx.config.line_format.format
    seen: dict[str, list[dict[str, Any]]] = {}
    for context, titles in test.select("context_id", "seen").iter_rows():
        seen.setdefault(context, []).extend(titles or ())
    return {
        "lines": [write(title, year) for title, year in items.select("title", "year").iter_rows()],
        "seen": [seen.get(context, []) for context in contexts],
    }


def _config(config: Config) -> dict[str, Any]:
    return {
        **({"limit": config.evaluate.limit} if config.evaluate.limit else {}),
        "samples": config.evaluate.samples,
        "sampler": config.evaluate.sampler,
        "temperature": config.evaluate.temperature,
        "seed": config.seed,
        "list_length": config.list_length,
        "domain": config.domain.noun,
        "years": config.recommend.years,
        "prompt": config.model.prompt,
        "max_prompt_tokens": config.model.max_prompt_tokens,
        "max_completion_tokens": config.model.max_completion_tokens,
        "bf16": config.model.bf16,
        **config.domain.changed("plural", "line", "line_without_year", "student"),
    }


def _base_config(config: Config) -> dict[str, Any]:
    return {**_config(config), "base": config.model.base}


def external_checkpoint_step(folder: Path) -> Step:
    """The step that has the model in a folder, trained elsewhere, write lists."""

    def build(ctx: StepContext) -> StepResult:
        return _built(ctx, "checkpoint", _of_folder(folder))

    def inputs(ctx: StepContext) -> dict[str, str]:
        return {"checkpoint": file_digest(folder)}

    return Step("evaluate", "generations", version=1, build=build, config=_config, inputs=inputs)


GENERATIONS = Step(stage="evaluate", kind="generations", version=1, build=_build, config=_config)
"""Parents: `conversations`, `checkpoint`."""

BASE_GENERATIONS = Step(
    stage="evaluate",
    kind="generations",
    version=1,
    build=_build_base,
    config=_base_config,
    inputs=lambda ctx: base_digest(ctx.config),
)
"""The student before any training: zero-shot. Parents: `conversations`, `catalog`."""
