"""From a checkpoint and conversations to the checkpoint artifact of stage `rank_grpo`."""

from __future__ import annotations

import polars as pl

from convrec.artifacts import StepResult
from convrec.errors import TrainingError
from convrec.models.manifest import checkpoint_rows
from convrec.stages.base import StepContext
from convrec.stages.rank_grpo.identity import config_subset
from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.titles.index import TitleIndex
from convrec.training.job import Trained, TrainingJob
from convrec.training.launch import trained
from convrec.utils.progress import Progress

_SPLITS = ("train", "validation")


def build_rank_grpo(ctx: StepContext) -> StepResult:
    """Train from the parent checkpoint on split train; split validation decides what is kept.

    A killed run goes on from the job's workspace. Raises TrainingError where there is nothing to
    train on, the loss breaks, or memory is short.
    """
    if ctx.scratch is None:
        raise TrainingError("rank_grpo writes a folder, and was given none to write to")
    parent = ctx.parents["checkpoint"].artifact_id
    conversations = ctx.frame("conversations")
    frames = {
        "catalog": ctx.frame("catalog", "item_id", "title", "year"),
        **{split: conversations.filter(pl.col("split") == split) for split in _SPLITS},
    }
    folder = ctx.store.fetched(parent)
    given = TrainingJob("rank_grpo", ctx.config, frames, ctx.scratch, ctx.workspace, folder)
    figures, curves = trained(fit_rank_grpo, given, ctx.progress)
    settings = config_subset(ctx.config)
    if "processes" in figures:
        settings["processes"] = figures["processes"]
    rows = checkpoint_rows(parent, int(figures["parameters"]), settings, ctx.config)
    return StepResult(rows, figures=figures, curves=curves)


def fit_rank_grpo(given: TrainingJob, progress: Progress) -> Trained:
    """Train `given.checkpoint` on the frames `train`, `validation` and `catalog`."""
    assert given.checkpoint is not None
    catalog = given.frames["catalog"]
    train, validation = (given.frames[split].to_dicts() for split in _SPLITS)
    return train_rank_grpo(
        given.checkpoint,
        train,
        TitleIndex(catalog.iter_rows()),
        given.config,
        given.out,
        given.config.seed,
        progress,
        validation=validation,
        lines=(
            given.config.line_format.format(title, year)
            for title, year in catalog.select("title", "year").iter_rows()
        ),
        working_folder=given.working_folder,
    )
