"""The rank_grpo stage as a step: a checkpoint trained further on the conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.artifacts.step import Built, Job, Step
from convrec.sft import prompt_settings

if TYPE_CHECKING:
    from convrec.config import Config


def build(job: Job) -> Built:
    """Train from the parent checkpoint on the train split, into the job's scratch folder.

    Raises TrainingError where there is nothing to train on, the loss breaks, or memory is short.
    """
    import polars as pl

    from convrec.catalog.index import TitleIndex
    from convrec.rank_grpo.train import train_rank_grpo
    from convrec.sft.build import checkpoint_rows

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
    settings = config_subset(job.config)
    rows = checkpoint_rows(parent, int(figures["parameters"]), settings, job.config)
    return Built(rows=rows, figures=figures, curves=curves)


def config_subset(config: Config) -> dict[str, Any]:
    """Everything of the configuration that can change the trained weights."""
    return {
        "seed": config.seed,
        "list_length": config.list_length,
        "years": config.recommend.years,
        "prompt": prompt_settings(config),
        "model": config.model.model_dump(
            mode="json", include={"max_prompt_tokens", "max_completion_tokens", "bf16"}
        ),
        "rank_grpo": config.rank_grpo.model_dump(mode="json"),
        **config.domain.changed("line", "line_without_year"),
    }


RANK_GRPO = Step(
    stage="rank_grpo",
    kind="checkpoint",
    version=1,
    build=build,
    config=config_subset,
    folder=True,
)
