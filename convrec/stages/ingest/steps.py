"""Three artifacts of one input: the catalog, the conversations, and what could not be used.

`conversations` does not depend on the catalog, so a catalog edit asks no teacher again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.artifacts import StepResult
from convrec.artifacts.parquet_rows import ParquetRows
from convrec.stages.base import Step, StepContext
from convrec.stages.ingest.source import (
    catalog_config,
    catalog_inputs,
    conversations_config,
    conversations_inputs,
    find_conversations,
    read_catalog,
    read_quarantine,
)
from convrec.stages.ingest.splits import SPLITS

if TYPE_CHECKING:
    import polars as pl


def _build_catalog(ctx: StepContext) -> StepResult:
    items, bad = read_catalog(ctx.config)
    figures = {
        "items": items.height,
        "with_year": items.height - items["year"].null_count(),
        "quarantined": bad.height,
    }
    return StepResult(items, figures)


def _build_conversations(ctx: StepContext) -> StepResult:
    import polars as pl

    found, bad = find_conversations(ctx.config)
    rows = pl.scan_parquet(list(found.files)) if isinstance(found, ParquetRows) else found.lazy()
    sizes = pl.col("ground_truth").list.len().alias("size")
    samples = rows.select("split", "context_id", sizes).collect()
    by_split = dict(samples.group_by("split").agg(pl.col("context_id").n_unique()).iter_rows())
    figures: dict[str, float | int | str] = {"samples": samples.height}
    figures |= {f"contexts_{split}": by_split.get(split, 0) for split in SPLITS}
    figures |= {
        "mean_ground_truth": round(float(samples["size"].mean() or 0), 3),  # type: ignore[arg-type]
        "quarantined": bad.height,
    }
    return StepResult(found.kept() if isinstance(found, ParquetRows) else found, figures)


def _build_quarantine(ctx: StepContext) -> StepResult:
    import polars as pl

    before = _found_before(ctx)
    if before is None:
        rows = read_quarantine(ctx.config)
    else:
        rows = pl.concat([read_catalog(ctx.config)[1], before])
    sources = rows.group_by("source", maintain_order=True).len().iter_rows()
    return StepResult(
        rows, {"rows": rows.height, **{f"from {name}": count for name, count in sources}}
    )


def _found_before(ctx: StepContext) -> pl.DataFrame | None:
    """The bad rows of the conversations, from what they were made from: another catalog's run."""
    store = ctx.store
    made = CONVERSATIONS.spec(ctx).artifact_id
    if store.find(made) is None:
        return None
    bad = int(store.header(made).figures["quarantined"])
    config, inputs = conversations_config(ctx.config), conversations_inputs(ctx.config)
    for header in store.headers("quarantine"):
        same = header.config | config == header.config and header.inputs | inputs == header.inputs
        whole = header.ref.rows == header.figures["rows"]  # nothing in it was forgotten
        if same and whole and header.version == QUARANTINE.version:
            return store.read(header.ref.artifact_id).tail(bad)  # behind those of the catalog
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
    inputs=lambda ctx: {**catalog_inputs(ctx.config), **conversations_inputs(ctx.config)},
)
