"""From a checkpoint and conversations to the checkpoint artifact of stage `rank_grpo`."""

from __future__ import annotations

import polars as pl

from convrec.artifacts import Built
from convrec.errors import TrainingError
from convrec.models.manifest import checkpoint_rows
from convrec.stages.base import Job
from convrec.stages.rank_grpo.identity import config_subset
from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.titles.index import TitleIndex
from convrec.training.job import Given, Trained
from convrec.training.launch import trained
from convrec.utils.progress import Progress

_SPLITS = ("train", "validation")


def build_rank_grpo(job: Job) -> Built:
    """Train from the parent checkpoint on split train; split validation decides what is kept.

    A killed run goes on from the job's workspace. Raises TrainingError where there is nothing to
    train on, the loss breaks, or memory is short.
    """
    if job.scratch is None:
        raise TrainingError("rank_grpo writes a folder, and was given none to write to")
    parent = job.parents["checkpoint"].artifact_id
    conversations = job.frame("conversations")
    frames = {
        "catalog": job.frame("catalog", "item_id", "title", "year"),
        **{split: conversations.filter(pl.col("split") == split) for split in _SPLITS},
    }
    folder = job.store.fetched(parent)
    given = Given("rank_grpo", job.config, frames, job.scratch, job.workspace, folder)
    figures, curves = trained(fit_rank_grpo, given, job.progress)
    settings = config_subset(job.config)
    if "processes" in figures:
        settings["processes"] = figures["processes"]
    rows = checkpoint_rows(parent, int(figures["parameters"]), settings, job.config)
    return Built(rows, figures=figures, curves=curves)


def fit_rank_grpo(given: Given, progress: Progress) -> Trained:
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
