"""The rank_grpo stage as a step: a checkpoint trained further on the conversations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from convrec.artifacts.step import Built, Job, Step

if TYPE_CHECKING:
    from convrec.config import Config


def build(job: Job) -> Built:
    """Train from the parent checkpoint on the train split, into the job's scratch folder.

    Raises TrainingError where there is nothing to train on, the loss breaks, or memory is short.
    """
    import polars as pl

    from convrec.catalog.index import TitleIndex
    from convrec.rank_grpo.train import train_rank_grpo

    if job.scratch is None:
        raise ValueError("a step with a folder needs a scratch folder")
    parent = job.parents["checkpoint"].artifact_id
    samples = job.frame("conversations").filter(pl.col("split") == "train")
    catalog = job.frame("catalog").select("item_id", "title", "year")
    figures, curves = train_rank_grpo(
        job.store.folder(parent),
        samples.to_dicts(),
        TitleIndex(catalog.iter_rows()),
        job.config,
        job.scratch,
        job.config.seed,
        job.progress,
    )
    row = {
        "path": ".",
        "base": parent,
        "parameters": figures["parameters"],
        "manifest": json.dumps(config_subset(job.config), sort_keys=True),
    }
    return Built(rows=pl.DataFrame([row]), figures=figures, curves=curves)


def config_subset(config: Config) -> dict[str, Any]:
    """Everything of the configuration that can change the trained weights."""
    return {
        "seed": config.seed,
        "list_length": config.list_length,
        "domain": config.domain,
        "years": config.recommend.years,
        "model": config.model.model_dump(
            mode="json", include={"prompt", "max_prompt_tokens", "max_completion_tokens", "bf16"}
        ),
        "rank_grpo": config.rank_grpo.model_dump(mode="json"),
    }


RANK_GRPO = Step(
    stage="rank_grpo",
    kind="checkpoint",
    version=1,
    build=build,
    config=config_subset,
    folder=True,
)
