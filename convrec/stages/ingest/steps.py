"""The steps of ingest: catalog, conversations and quarantine.

`conversations` does not depend on the catalog, so that a catalog edit does not query the teacher
again. With `ingest.catalog_from=ground_truth`, the catalog depends on the files of the
conversations, but not on their artifact.
"""

from __future__ import annotations

import polars as pl

from convrec.artifacts import StepResult
from convrec.artifacts.parquet_rows import ParquetRows
from convrec.stages.base import Step, StepContext
from convrec.stages.ingest.read import (
    catalog_config,
    catalog_figures,
    catalog_inputs,
    conversations_config,
    conversations_inputs,
    load_conversations,
    read_catalog,
)
from convrec.stages.ingest.skipped import log_skipped_files, skipped_inputs, skipped_rows
from convrec.stages.ingest.splits import SPLITS


def _build_catalog(ctx: StepContext) -> StepResult:
    items, bad = read_catalog(ctx.config)
    figures = {
        "items": items.height,
        "with_year": items.height - items["year"].null_count(),
        "quarantined": bad.height,
        **catalog_figures(ctx.config),
    }
    return StepResult(items, figures)


def _build_conversations(ctx: StepContext) -> StepResult:
    skipped = log_skipped_files(ctx.config)
    data, bad = load_conversations(ctx.config)
    rows = data.scan() if isinstance(data, ParquetRows) else data.lazy()
    sizes = pl.col("ground_truth").list.len().alias("size")
    samples = rows.select("split", "context_id", sizes).collect()
    by_split = dict(samples.group_by("split").agg(pl.col("context_id").n_unique()).iter_rows())
    figures: dict[str, float | int | str] = {
        "samples": samples.height,
        **{f"contexts_{split}": by_split.get(split, 0) for split in SPLITS},
        "mean_ground_truth": round(float(samples["size"].mean() or 0), 3),  # type: ignore[arg-type]
        "quarantined": bad.height,
        **({"files_not_read": skipped} if skipped else {}),
    }
    return StepResult(data.share() if isinstance(data, ParquetRows) else data, figures)


def _build_quarantine(ctx: StepContext) -> StepResult:
    conversations_bad = _stored_conversations_quarantine(ctx)
    if conversations_bad is None:
        conversations_bad = load_conversations(ctx.config)[1]
    files = skipped_rows(ctx.config)
    rows = pl.concat([read_catalog(ctx.config)[1], files, conversations_bad])
    sources = rows.group_by("source", maintain_order=True).len().iter_rows()
    return StepResult(
        rows, {"rows": rows.height, **{f"from {name}": count for name, count in sources}}
    )


def _stored_conversations_quarantine(ctx: StepContext) -> pl.DataFrame | None:
    """The quarantine of the conversations from an artifact of the same conversations, if stored.

    It saves reading the conversations after a catalog edit.
    """
    store = ctx.store
    conversations = CONVERSATIONS.spec(ctx).artifact_id
    if store.find(conversations) is None:
        return None
    bad = int(store.header(conversations).figures["quarantined"])
    config, inputs = conversations_config(ctx.config), conversations_inputs(ctx.config)
    for header in store.headers("quarantine"):
        is_same = (
            header.config | config == header.config
            and header.inputs | inputs == header.inputs
            and header.version == QUARANTINE.version
        )
        is_complete = header.ref.rows == header.figures["rows"]  # no row was forgotten
        if is_same and is_complete:
            return store.read(header.ref.artifact_id).tail(bad)  # after those of the catalog
    return None


CATALOG = Step(
    stage="ingest",
    kind="catalog",
    version=1,
    build=_build_catalog,
    config=catalog_config,
    inputs=lambda ctx: catalog_inputs(ctx.config),
)
CONVERSATIONS = Step(
    stage="ingest",
    kind="conversations",
    version=1,
    build=_build_conversations,
    config=conversations_config,
    inputs=lambda ctx: conversations_inputs(ctx.config),
)
QUARANTINE = Step(
    stage="ingest",
    kind="quarantine",
    version=1,
    build=_build_quarantine,
    config=lambda config: {**catalog_config(config), **conversations_config(config)},
    inputs=lambda ctx: {
        **catalog_inputs(ctx.config),
        **conversations_inputs(ctx.config),
        **skipped_inputs(ctx.config),
    },
)
