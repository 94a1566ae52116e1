"""The `generations` artifacts: the lists that a checkpoint writes for the test split.

By default lists are sampled without the catalog: a list ends after N lines, and each line is drawn
from those that differ from all earlier lines. Other values of `evaluate.sampler` sample freely,
with repeats and any length, or constrain lists to unseen catalog items. Each post gets
`evaluate.samples` lists, which all samples of the post share.

`free` is the final checkpoint without a sampler, whatever `evaluate.sampler` is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from convrec.artifacts import StepResult, file_digest
from convrec.config import Config
from convrec.models.identity import PROMPTS, base_digest, first_token
from convrec.models.manifest import data_template, serving_settings
from convrec.models.prompts import student_prompt
from convrec.stages.base import Step, StepContext
from convrec.stages.evaluate.held_out_posts import (
    HeldOutPosts,
    generation_rows,
    generations_step,
    list_catalog,
    read_test_posts,
)
from convrec.stages.evaluate.served import serve_posts, served_config


def _build(ctx: StepContext) -> StepResult:
    checkpoint = ctx.parents["checkpoint"]
    folder = ctx.store.fetch_folder(checkpoint.artifact_id)
    return _generate(ctx, checkpoint.stage, folder, ctx.config)


def _build_free(ctx: StepContext) -> StepResult:
    folder = ctx.store.fetch_folder(ctx.parents["checkpoint"].artifact_id)
    return _generate(ctx, "free", folder, sampled_freely(ctx.config))


def _build_base(ctx: StepContext) -> StepResult:
    from convrec.models.load import student_folder

    return _generate(ctx, "base", student_folder(ctx.config.model.base), ctx.config)


def sampled_freely(config: Config) -> Config:
    """The configuration with `evaluate.sampler=free`."""
    evaluate = config.evaluate.model_copy(update={"sampler": "free"})
    return config.model_copy(update={"evaluate": evaluate})


def _generate(ctx: StepContext, system: str, folder: Path, config: Config) -> StepResult:
    """Sample the lists of the model in `folder` with the sampler of `config`."""
    from convrec.stages.evaluate.sampling import fit_lists, run_sampling

    test = read_test_posts(ctx)
    prompts = [
        student_prompt(text, prompt, config)
        for text, prompt in test.posts.select("conversation", "prompt").iter_rows()
    ]
    frames = {
        "prompts": pl.DataFrame({"prompt": prompts}, {"prompt": pl.String}),
        "lines": pl.DataFrame({"line": []}, {"line": pl.String}),
    }
    if config.evaluate.sampler == "constrained":
        frames["lines"] = _catalog_lines(ctx)
        frames["prompts"] = frames["prompts"].with_columns(_seen_titles(test))
    sampled = run_sampling(fit_lists, ctx, config, frames, folder)
    texts = [[one.text for one in lists] for lists in sampled.lists]
    figures = {
        "posts": test.posts.height,
        "lists a post": config.evaluate.lists_per_post,
        "seed": config.seed,
        "temperature": config.evaluate.temperature,
        "sampler": config.evaluate.sampler,
        **sampled.figures,
    }
    return StepResult(generation_rows(system, test, texts), figures)


def _catalog_lines(ctx: StepContext) -> pl.DataFrame:
    items = list_catalog(ctx).select("title", "year")
    form = ctx.config.line_format.for_titles(items["title"])
    lines = [form.format(title, year) for title, year in items.iter_rows()]
    return pl.DataFrame({"line": lines}, {"line": pl.String})


def _seen_titles(test: HeldOutPosts) -> pl.Series:
    """The titles that each post has seen, over all of its samples."""
    seen: dict[str, list[dict[str, Any]]] = {}
    for context, titles in test.samples.select("context_id", "seen").iter_rows():
        seen.setdefault(context, []).extend(titles or ())
    values = [seen[context] for context in test.posts["context_id"]]
    return pl.Series("seen", values, dtype=test.samples.schema["seen"])


def _config(config: Config) -> dict[str, Any]:
    keys = ("limit", "samples", "sampler", "temperature", "vllm")
    return {
        **config.evaluate.identity_settings(*keys),
        "samples": config.evaluate.lists_per_post,
        "seed": config.seed,
        **_text_settings(config),
    }


def _text_settings(config: Config) -> dict[str, Any]:
    """The settings that prompts and lines depend on."""
    return {
        "list_length": config.list_length,
        "domain": config.domain.noun,
        "years": config.recommend.years,
        "prompt": config.model.prompt,
        "max_prompt_tokens": config.model.max_prompt_tokens,
        "max_completion_tokens": config.model.max_completion_tokens,
        "bf16": config.model.bf16,
        **config.domain.identity_settings("plural", "line", "line_without_year", "student"),
    }


class ExternalSteps(NamedTuple):
    """The steps that evaluate a model trained elsewhere."""

    sampled: Step
    free: Step
    served: Step


def external_checkpoint_steps(folder: Path) -> ExternalSteps:
    """The steps for the model in `folder`. Parents: `conversations`, `catalog`."""

    @cache
    def digest() -> dict[str, Any]:
        return {"checkpoint": file_digest(folder), **first_token(folder), **PROMPTS}

    def step(
        build: Callable[[StepContext], StepResult], config: Callable[[Config], dict[str, Any]]
    ) -> Step:
        return generations_step(build, config, lambda ctx: digest())

    return ExternalSteps(
        sampled=step(lambda ctx: _generate(ctx, "checkpoint", folder, ctx.config), _config),
        free=step(
            lambda ctx: _generate(ctx, "free", folder, sampled_freely(ctx.config)), _free_config
        ),
        served=step(
            lambda ctx: serve_posts(ctx, folder, Config.model_validate(_serving_settings(ctx))),
            lambda config: {**_text_settings(config), **served_config(config)},
        ),
    )


def _serving_settings(ctx: StepContext) -> dict[str, Any]:
    """The serving settings of a checkpoint that was trained like the run's."""
    template = data_template(
        ctx.config, ctx.frame("conversations", "split", "conversation", "prompt")
    )
    return serving_settings(ctx.config, template)


def _free_config(config: Config) -> dict[str, Any]:
    return _config(sampled_freely(config))


GENERATIONS = generations_step(_build, _config)
"""Parents: `conversations`, `checkpoint`."""

FREE_GENERATIONS = generations_step(_build_free, _free_config)
"""The same artifact as GENERATIONS where `evaluate.sampler` is `free`."""

BASE_GENERATIONS = generations_step(
    _build_base,
    lambda config: {**_config(config), "base": config.model.base, **PROMPTS},
    lambda ctx: base_digest(ctx.config),
)
"""The student before any training, zero-shot. Parents: `conversations`, `catalog`."""
