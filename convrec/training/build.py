"""From a checkpoint and conversations to the checkpoint artifact of stage `rank_grpo`."""

from __future__ import annotations

import polars as pl

from convrec.artifacts import Built, Job
from convrec.catalog.index import TitleIndex
from convrec.errors import TrainingError
from convrec.rank_grpo.step import config_subset
from convrec.sft.build import checkpoint_rows
from convrec.training.rl import train_rank_grpo


def build_rank_grpo(job: Job) -> Built:
    """Train from the parent checkpoint on split train; split validation decides what is kept.

    A killed run goes on from the job's workspace. Raises TrainingError where there is nothing to
    train on, the loss breaks, or memory is short.
    """
    if job.scratch is None:
        raise TrainingError("rank_grpo writes a folder, and was given none to write to")
    parent = job.parents["checkpoint"].artifact_id
    conversations = job.frame("conversations")
    train, validation = (
        conversations.filter(pl.col("split") == split).to_dicts()
        for split in ("train", "validation")
    )
    catalog = job.frame("catalog", "item_id", "title", "year")
    figures, curves = train_rank_grpo(
        job.store.fetched(parent),
        train,
        TitleIndex(catalog.iter_rows()),
        job.config,
        job.scratch,
        job.config.seed,
        job.progress,
        validation=validation,
        lines=(
            job.config.line_format.format(title, year)
            for title, year in catalog.select("title", "year").iter_rows()
        ),
        working_folder=job.workspace,
    )
    settings = config_subset(job.config)
    rows = checkpoint_rows(parent, int(figures["parameters"]), settings, job.config)
    return Built(rows=rows, figures=figures, curves=curves)
