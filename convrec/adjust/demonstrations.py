"""The demonstrations: what the student is shown, one list a context, in the output format.

Lists of validation and test contexts are written too, to be evaluated; `sft` trains on the train
split alone. Where the data brings its own completions (`recommend.source=provided`), these are the
demonstrations, one a sample, unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.adjust.scores import candidate_scores
from convrec.artifacts import Built, Job, Step
from convrec.catalog.index import TitleIndex
from convrec.errors import InputError
from convrec.recommend import contexts

if TYPE_CHECKING:
    import polars as pl

    from convrec.config import Config


def final_lists(
    scores: pl.DataFrame, adjustment: pl.DataFrame | None, seen: dict[str, set[str]], n: int
) -> dict[str, list[str]]:
    """Context → its `n` best unseen item ids by s_final = w·s + b; ties keep the earlier order.

    `scores` has columns context_id, item_id, score; without an adjustment w = 1 and b = 0.
    """
    import polars as pl

    if adjustment is not None:
        scores = scores.join(adjustment, on="item_id", how="left", maintain_order="left").select(
            "context_id",
            "item_id",
            (pl.col("score") * pl.col("weight").fill_null(1.0) + pl.col("bias").fill_null(0.0)),
        )
    ranked = scores.with_columns(pl.int_range(pl.len()).alias("before")).sort(
        "context_id", "score", "before", descending=[False, True, False]
    )
    lists: dict[str, list[str]] = {}
    for owner, item_id in ranked.select("context_id", "item_id").iter_rows():
        chosen = lists.setdefault(owner, [])
        if len(chosen) < n and item_id not in seen.get(owner, ()):
            chosen.append(item_id)
    return lists


def seen_items(conversations: pl.DataFrame, index: TitleIndex) -> dict[str, set[str]]:
    """Context → the catalog items that its conversation already names."""
    return {
        owner: {item_id for t in seen or () if (item_id := index.find(t["title"], t["year"]))}
        for owner, seen in contexts(conversations).select("context_id", "seen").iter_rows()
    }


def _build(job: Job) -> Built:
    provided = job.config.recommend.source == "provided"
    rows, figures = _provided(job) if provided else _adjusted(job)
    if not rows:
        raise InputError(
            "there is no demonstration to learn from: no context has a list; with "
            "recommend.source=provided the data needs a `completion`, else look at teacher_lists"
        )
    import polars as pl

    frame = pl.DataFrame(
        rows,
        schema={
            "context_id": pl.String,
            "sample_id": pl.String,
            "split": pl.String,
            "items": pl.List(pl.String),
            "completion": pl.String,
        },
        orient="row",
    )
    counts = frame["split"].value_counts(sort=True).iter_rows()
    return Built(frame, {**{f"{split} lists": count for split, count in counts}, **figures})


def _adjusted(job: Job) -> tuple[list[tuple[Any, ...]], dict[str, float]]:
    catalog = job.frame("catalog").select("item_id", "title", "year")
    write = job.config.line_format.format
    line = {item_id: write(title, year) for item_id, title, year in catalog.iter_rows()}
    conversations = job.frame("conversations")
    seen = seen_items(conversations, TitleIndex(catalog.iter_rows()))
    adjustment = job.frame("adjustment") if "adjustment" in job.parents else None
    lists = final_lists(candidate_scores(job), adjustment, seen, job.config.list_length)
    split_of = contexts(conversations).select("context_id", "split").iter_rows()
    rows = [
        (owner, None, split, lists[owner], "\n".join(line[item] for item in lists[owner]))
        for owner, split in split_of
        if owner in lists
    ]
    short = sum(len(row[3]) < job.config.list_length for row in rows)
    named = {item for row in rows for item in row[3]}
    return rows, {
        "shorter than list_length": short,
        "catalog coverage": round(len(named) / max(catalog.height, 1), 4),
    }


def _provided(job: Job) -> tuple[list[tuple[Any, ...]], dict[str, float]]:
    catalog = job.frame("catalog").select("item_id", "title", "year")
    index = TitleIndex(catalog.iter_rows())
    columns = ("context_id", "sample_id", "split", "completion")
    rows: list[tuple[Any, ...]] = []
    lines = 0
    for owner, sample, split, text in job.frame("conversations").select(columns).iter_rows():
        if not text:
            continue
        written = [item for item in map(job.config.line_format.parse, text.split("\n")) if item]
        found = [index.find(item.title, item.year) for item in written]
        lines += len(written)
        rows.append((owner, sample, split, [item for item in found if item], text.strip("\n")))
    inside = sum(len(row[3]) for row in rows)
    return rows, {"in catalog": round(inside / max(lines, 1), 4)}


def _config(config: Config) -> dict[str, Any]:
    provided = config.recommend.source == "provided"
    return {"list_length": config.list_length, "provided": provided, **config.line_format.key}


DEMONSTRATIONS = Step(
    stage="adjust", kind="demonstrations", version=1, build=_build, config=_config
)
