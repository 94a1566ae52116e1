"""From a checkpoint and conversations to the checkpoint artifact of stage `rank_grpo`."""

from __future__ import annotations

from typing import Any

import polars as pl

from convrec.artifacts import StepResult
from convrec.errors import TrainingError
from convrec.models.manifest import checkpoint_row
from convrec.stages.base import StepContext
from convrec.stages.catalog_titles import read_conversations
from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.titles.index import TitleIndex
from convrec.training.job import TrainingJob, TrainingResult
from convrec.training.launch import run_training
from convrec.utils.progress import Progress

_SPLITS = ("train", "validation")


def build_rank_grpo(ctx: StepContext, settings: dict[str, Any]) -> StepResult:
    """Train on split train; split validation selects the weights. `settings` are recorded."""
    if ctx.scratch is None:
        raise TrainingError("rank_grpo needs a folder to write to, but the step context has none")
    parent = ctx.parents["checkpoint"].artifact_id
    conversations = read_conversations(ctx)
    frames = {
        "catalog": ctx.frame("catalog", "item_id", "title", "year"),
        **{split: conversations.filter(pl.col("split") == split) for split in _SPLITS},
    }
    checkpoint = ctx.store.fetch_folder(parent)
    folders = (ctx.scratch, ctx.workspace, checkpoint)
    job = TrainingJob("rank_grpo", ctx.config, frames, *folders, ctx.run_ids)
    figures, curves = run_training(fit_rank_grpo, job, ctx.progress)
    recorded = ("processes", "micro_batch", "recompute")
    settings |= {name: figures[name] for name in recorded if name in figures}
    parameters = int(figures["parameters"])
    row = checkpoint_row(parent, parameters, settings, ctx.config, ctx.scratch, conversations)
    return StepResult(row, figures=figures, curves=curves)


def fit_rank_grpo(job: TrainingJob, progress: Progress) -> TrainingResult:
    """Train `job.checkpoint` on the frames `train`, `validation` and `catalog`."""
    assert job.checkpoint is not None
    catalog = job.frames["catalog"]
    form = job.config.line_format.for_titles(catalog["title"])
    train, validation = (job.frames[split].to_dicts() for split in _SPLITS)
    return train_rank_grpo(
        job.checkpoint,
        train,
        TitleIndex(catalog.iter_rows()),
        job.config,
        job.out,
        job.config.seed,
        progress,
        validation=validation,
        lines=(
            form.format(title, year) for title, year in catalog.select("title", "year").iter_rows()
        ),
        working_folder=job.working_folder,
        ids=job.ids,
    )
