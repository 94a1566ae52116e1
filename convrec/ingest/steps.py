"""Three artifacts of one input: the catalog, the conversations, and what could not be used.

`conversations` does not depend on the catalog, so a catalog edit asks no teacher again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.artifacts import Built, Job, Step
from convrec.ingest.source import (
    catalog_config,
    catalog_inputs,
    conversations_config,
    conversations_inputs,
    read,
    read_catalog,
    read_conversations,
)
from convrec.ingest.splits import SPLITS

if TYPE_CHECKING:
    import polars as pl


def _build_catalog(job: Job) -> Built:
    items, bad = read_catalog(job.config)
    figures = {
        "items": items.height,
        "with_year": items.height - items["year"].null_count(),
        "quarantined": bad.height,
    }
    return Built(items, figures)


def _build_conversations(job: Job) -> Built:
    samples, bad = read_conversations(job.config)
    by_split = dict(samples.group_by("split").agg(_contexts()).iter_rows())
    figures: dict[str, float | int | str] = {"samples": samples.height}
    figures |= {f"contexts_{split}": by_split.get(split, 0) for split in SPLITS}
    figures |= {
        "mean_ground_truth": round(float(samples["ground_truth"].list.len().mean() or 0), 3),  # type: ignore[arg-type]
        "quarantined": bad.height,
    }
    return Built(samples, figures)


def _build_quarantine(job: Job) -> Built:
    source = read(job.config)
    rows = source.quarantine
    sources = rows.group_by("source", maintain_order=True).len().iter_rows()
    return Built(rows, {"rows": rows.height, **{f"from {name}": count for name, count in sources}})


def _contexts() -> pl.Expr:
    import polars as pl

    return pl.col("context_id").n_unique()


CATALOG = Step(
    stage="ingest",
    kind="catalog",
    version=1,
    build=_build_catalog,
    config=catalog_config,
    inputs=lambda job: catalog_inputs(job.config),
)
CONVERSATIONS = Step(
    stage="ingest",
    kind="conversations",
    version=1,
    build=_build_conversations,
    config=conversations_config,
    inputs=lambda job: conversations_inputs(job.config),
)
QUARANTINE = Step(
    stage="ingest",
    kind="quarantine",
    version=1,
    build=_build_quarantine,
    config=lambda config: {**catalog_config(config), **conversations_config(config)},
    inputs=lambda job: {**catalog_inputs(job.config), **conversations_inputs(job.config)},
)
