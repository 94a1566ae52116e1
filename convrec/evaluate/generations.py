"""The `generations` artifact: what a checkpoint writes for the test split.

By default a list is sampled freely and ends when N lines are written, so that format, catalog and
repeats show the model itself; `evaluate.sampler` also has the free model, and lists that are
constrained to the unseen lines of the catalog. A post is answered once a draw, and its answers
stand for every sample that shares the post.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.artifacts import Built, Job, Step
from convrec.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from convrec.config import Config


def _build(job: Job) -> Built:
    import polars as pl

    from convrec.decoding import sample_lists
    from convrec.sft.prompts import student_prompt

    config = job.config
    test = job.frame("conversations").filter(pl.col("split") == "test")
    posts = test.unique("context_id", keep="first", maintain_order=True)
    if posts.is_empty():
        raise InputError(
            "the test split has no conversation, so a checkpoint cannot be evaluated; "
            "look at the split column of the conversations and at ingest.path"
        )
    checkpoint = job.parents["checkpoint"]
    prompts = [
        student_prompt(text, given, config)
        for text, given in posts.select("conversation", "prompt").iter_rows()
    ]
    lists = sample_lists(
        job.store.folder(checkpoint.artifact_id),
        prompts,
        config=config,
        samples=config.evaluate.samples,
        temperature=config.evaluate.temperature,
        seed=config.seed,
        progress=job.progress,
        **_catalog(job, test, posts["context_id"].to_list()),
    )
    of_context = dict(zip(posts["context_id"], lists, strict=True))
    rows = [
        (checkpoint.stage, sample, context, draw, text)
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
    figures = {"posts": posts.height, "lists a post": config.evaluate.samples}
    return Built(pl.DataFrame(rows, schema=schema, orient="row"), figures)


def _catalog(job: Job, test: pl.DataFrame, contexts: list[str]) -> dict[str, Any]:
    """For the constrained sampler: the catalog's lines, and what each context's samples have seen.

    The catalog is the one that the checkpoint was trained with.
    """
    if job.config.evaluate.sampler != "constrained":
        return {}
    from convrec.serving import catalog_of

    items = catalog_of(job.store, job.parents["checkpoint"].artifact_id)
    write = job.config.line_format.format
    seen: dict[str, list[dict[str, Any]]] = {}
    for context, titles in test.select("context_id", "seen").iter_rows():
        seen.setdefault(context, []).extend(titles or ())
    return {
        "lines": [write(title, year) for title, year in items.select("title", "year").iter_rows()],
        "seen": [seen.get(context, []) for context in contexts],
    }


def _config(config: Config) -> dict[str, Any]:
    return {
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


GENERATIONS = Step(stage="evaluate", kind="generations", version=1, build=_build, config=_config)
