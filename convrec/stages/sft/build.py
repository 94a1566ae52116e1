"""From demonstrations to a checkpoint artifact."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import polars as pl
import torch

from convrec.artifacts import StepResult
from convrec.config import Config
from convrec.errors import TrainingError
from convrec.models.load import load_student, save_student
from convrec.models.manifest import checkpoint_row
from convrec.models.prompts import student_prompt
from convrec.stages.base import StepContext
from convrec.stages.sft.data import TextPair
from convrec.stages.sft.train import train_sft
from convrec.training.job import TrainingJob, TrainingResult
from convrec.training.launch import run_training
from convrec.training.validation_sample import sample_contexts
from convrec.utils.progress import Progress

_COLUMNS = ("sample_id", "context_id", "split", "conversation", "prompt")
"""Columns of the conversations that a training reads."""


def training_rows(
    conversations: pl.DataFrame, demonstrations: pl.DataFrame, split: str, config: Config
) -> list[TextPair]:
    """Prompt and completion of each demonstration of a split, in order.

    A demonstration without sample_id is one row for all samples of its context, which share a
    conversation. A demonstration without lines (all its items were seen) is skipped.
    """
    samples = conversations.select("sample_id", "context_id", "conversation", "prompt").rows()
    by_sample = {sample: (text, prompt) for sample, _, text, prompt in samples}
    by_context = {context: (text, prompt) for _, context, text, prompt in reversed(samples)}
    rows = []
    for context, sample, completion in (
        demonstrations.filter(pl.col("split") == split, pl.col("completion") != "")
        .select("context_id", "sample_id", "completion")
        .iter_rows()
    ):
        conversation, prompt = by_context[context] if sample is None else by_sample[sample]
        rows.append((student_prompt(conversation, prompt, config), completion))
    return rows


def training_splits(ctx: StepContext) -> dict[str, list[TextPair]]:
    """The rows of splits train and validation, from the run's own data or from its sources.

    Lists of a source are cut to `list_length`. Conversations that the run's own data hold out are
    excluded, whatever their split in the source.
    """
    config, conversations = ctx.config, ctx.frame("conversations", *_COLUMNS)
    tables = [(conversations, ctx.frame("demonstrations"))] if ctx.has("demonstrations") else []
    held_out = set(conversations.filter(pl.col("split") != "train")["conversation"])
    for source in config.sources:
        source_conversations = ctx.frame(f"{source}:conversations", *_COLUMNS)
        usable = source_conversations.filter(
            (pl.col("split") != "train") | ~pl.col("conversation").is_in(held_out)
        )
        demonstrations = ctx.frame(f"{source}:demonstrations").join(
            usable.select("context_id").unique(),
            on="context_id",
            how="semi",
            maintain_order="left",
        )
        lines = pl.col("completion").str.split("\n")
        shortened = lines.list.head(config.list_length).list.join("\n")
        tables.append((source_conversations, demonstrations.with_columns(shortened)))
    return {
        split: [row for pair in tables for row in training_rows(*pair, split, config)]
        for split in ("train", "validation")
    }


def build_sft(ctx: StepContext) -> StepResult:
    """Train on split train, and compute the loss on a sample of split validation.

    Training starts from the parent `checkpoint` if there is one, otherwise from `model.base`.
    """
    if ctx.scratch is None:
        raise TrainingError("sft needs a folder to write to, but the step context has none")
    config, parent = ctx.config, ctx.parents.get("checkpoint")
    splits = training_splits(ctx)
    # Rows of one context share their prompt.
    splits["validation"] = sample_contexts(
        splits["validation"], config.sft.eval_samples, config.seed, context_of=itemgetter(0)
    )
    schema = {"prompt": pl.String, "completion": pl.String}
    frames = {split: pl.DataFrame(rows, schema, orient="row") for split, rows in splits.items()}
    checkpoint = ctx.store.fetch_folder(parent.artifact_id) if parent else None
    folders = (ctx.scratch, ctx.workspace, checkpoint)
    job = TrainingJob("sft", config, frames, *folders, ctx.run_ids)
    figures, curves = run_training(fit_sft, job, ctx.progress)
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
    row = checkpoint_row(
        parent.artifact_id if parent else config.model.base,
        int(figures["parameters"]),
        settings,
        config,
        ctx.scratch,
        ctx.frame("conversations", *_COLUMNS),
    )
    return StepResult(row, figures=figures, curves=curves)


def build_untrained(ctx: StepContext) -> StepResult:
    """Save the model that `build_sft` would train."""
    if ctx.scratch is None:
        raise TrainingError("a checkpoint needs a folder, but the step context has none")
    config, splits = ctx.config, training_splits(ctx)
    texts = [text for row in splits["train"] for text in row]
    student = load_student(config.model.base, config=config.model, texts=texts, seed=config.seed)
    parameters = student.model.num_parameters()
    save_student(student, ctx.scratch)
    settings = {"seed": config.seed, "model": config.model.model_dump(mode="json"), "steps": 0}
    conversations = ctx.frame("conversations", *_COLUMNS)
    row = checkpoint_row(
        config.model.base, parameters, settings, config, ctx.scratch, conversations
    )
    return StepResult(row, figures={"parameters": parameters, "steps": 0})


def fit_sft(job: TrainingJob, progress: Progress) -> TrainingResult:
    """Fine-tune on the frames `train` and `validation`: columns prompt and completion."""
    return train_sft(
        job.frames["train"].rows(),
        job.frames["validation"].rows(),
        job.config,
        job.out,
        seed=job.config.seed,
        checkpoint=job.checkpoint,
        progress=progress,
        working_folder=job.working_folder,
        ids=job.ids,
    )
