"""From demonstrations to a checkpoint artifact."""

from __future__ import annotations

from typing import Any

import polars as pl
import torch

from convrec.artifacts import StepResult
from convrec.config import Config
from convrec.errors import TrainingError
from convrec.models.manifest import checkpoint_rows
from convrec.models.prompts import student_prompt
from convrec.stages.base import StepContext
from convrec.stages.sft.train import EncodedRow, train_sft
from convrec.training.job import Trained, TrainingJob
from convrec.training.launch import trained
from convrec.training.metrics_log import curve_frame
from convrec.utils.progress import Progress

_LESSON = {"prompt": pl.String, "completion": pl.String}
VALIDATION_ROWS = 64
"""Demonstrations of split validation on which the validation loss is measured."""


def training_rows(
    conversations: pl.DataFrame, demonstrations: pl.DataFrame, split: str, config: Config
) -> list[EncodedRow]:
    """Prompt and completion of every demonstration of a split, in order.

    A demonstration without a sample_id stands for all samples of its context, which share one
    conversation, and is one row. One without a line, where everything was seen, teaches nothing.
    """
    samples = conversations.select("sample_id", "context_id", "conversation", "prompt").rows()
    by_sample = {sample: (talk, prompt) for sample, _, talk, prompt in samples}
    by_context = {context: (talk, prompt) for _, context, talk, prompt in reversed(samples)}
    rows = []
    for context, sample, completion in (
        demonstrations.filter(pl.col("split") == split, pl.col("completion") != "")
        .select("context_id", "sample_id", "completion")
        .iter_rows()
    ):
        talk, prompt = by_context[context] if sample is None else by_sample[sample]
        rows.append((student_prompt(talk, prompt, config), completion))
    return rows


def lessons_of(ctx: StepContext) -> dict[str, list[EncodedRow]]:
    """The rows of splits train and validation: the run's own, or those of its sources.

    Lists of a source are cut at `list_length`, as those that the data bring may be longer. A
    conversation that the run's own data hold out is not taught, whatever split its source gave it.
    """
    config, conversations = ctx.config, ctx.frame("conversations")
    pairs = [(conversations, ctx.frame("demonstrations"))] if ctx.has("demonstrations") else []
    kept = set(conversations.filter(pl.col("split") != "train")["conversation"])
    for source in config.sources:
        talks = ctx.frame(f"{source}:conversations")
        lists = ctx.frame(f"{source}:demonstrations").join(
            talks.filter((pl.col("split") != "train") | ~pl.col("conversation").is_in(kept))
            .select("context_id")
            .unique(),
            on="context_id",
            how="semi",
            maintain_order="left",
        )
        first = pl.col("completion").str.split("\n").list.head(config.list_length).list.join("\n")
        pairs.append((talks, lists.with_columns(first)))
    return {
        split: [row for pair in pairs for row in training_rows(*pair, split, config)]
        for split in ("train", "validation")
    }


def build_sft(ctx: StepContext) -> StepResult:
    """Train on split train, measure the loss on a part of split validation, keep the checkpoint."""
    if ctx.scratch is None:
        raise TrainingError("sft writes a folder, and was given none to write to")
    config = ctx.config
    lessons = lessons_of(ctx)
    rows = {"train": lessons["train"], "validation": lessons["validation"][:VALIDATION_ROWS]}
    frames = {split: pl.DataFrame(rows[split], _LESSON, orient="row") for split in rows}
    given = TrainingJob("sft", config, frames, ctx.scratch, ctx.workspace)
    figures, curves = trained(fit_sft, given, ctx.progress)
    settings: dict[str, Any] = {
        "seed": config.seed,
        "sft": config.sft.model_dump(mode="json"),
        "model": config.model.model_dump(mode="json"),
        "threads": figures["threads"],
        "bf16": figures["bf16"],
        "torch": torch.__version__,
    }
    if "processes" in figures:
        settings["processes"] = figures["processes"]
    row = checkpoint_rows(config.model.base, int(figures["parameters"]), settings, config)
    return StepResult(row, figures=figures, curves=curves)


def fit_sft(given: TrainingJob, progress: Progress) -> Trained:
    """Fine-tune on the frames `train` and `validation`: columns prompt and completion."""
    figures, curves = train_sft(
        given.frames["train"].rows(),
        given.frames["validation"].rows(),
        given.config,
        given.out,
        seed=given.config.seed,
        progress=progress,
        working_folder=given.working_folder,
    )
    return figures, curve_frame(curves)
