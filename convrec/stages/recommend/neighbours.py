"""Lists without a teacher LLM (`recommend.source=neighbours`): what answered similar conversations.

Each context gets the `list_length` best titles of the ground truth of training turns, see
`convrec.stages.recommend.nearest_turns`. Like any teacher list, it names titles as written and
depends on no catalog. Lists are computed in partitions, so memory holds the training conversations
and the similarities of one block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from convrec.artifacts import StepResult
from convrec.artifacts.parquet_rows import ParquetRows
from convrec.config import Config
from convrec.errors import InputError
from convrec.stages.base import StepContext
from convrec.stages.contexts import context_spans, rows_of_contexts
from convrec.stages.ingest.dialogue_ids import dialogue_ids
from convrec.stages.partitions import CHUNK, SharedTables, build_partitions
from convrec.stages.recommend.nearest_turns import NearestTurns
from convrec.titles.index import TitleIndex

_ITEMS = pl.List(pl.Int64)

_NO_GROUND_TRUTH = (
    "recommend.source=neighbours makes lists from the ground truth of training conversations, and "
    "no training conversation has one; add some, or choose another recommend.source"
)
_ONE_DIALOGUE = (
    "recommend.source=neighbours needs the ground truth of at least two training dialogues, "
    "because none is recommended to itself, and there is one; look at ingest.dialogue, or choose "
    "another recommend.source"
)


def neighbour_settings(config: Config) -> dict[str, Any]:
    """The settings that change the lists, as they enter the artifact id."""
    dialogue = config.ingest.dialogue
    return {
        "list_length": config.list_length,
        "source": "neighbours",
        "neighbours": config.recommend.neighbours,
        **({"dialogue": dialogue} if dialogue else {}),
        **config.llm_line_format.identity_settings,
    }


def build_neighbour_lists(ctx: StepContext) -> StepResult:
    """The list of each context, in order.

    Raises InputError if fewer than two training dialogues have a ground truth.
    """
    tables = _shared_tables(ctx)
    turns = tables["turns"]
    if turns.is_empty():
        raise InputError(_NO_GROUND_TRUTH)
    if (dialogues := turns["dialogue"].n_unique()) < 2:
        raise InputError(_ONE_DIALOGUE)
    rows = build_partitions(ctx, _build_partition, tables["contexts"].height, tables)
    listed = rows.scan().select(pl.col("context_id").n_unique()).collect().item()
    figures = {"contexts": listed, **list_figures(rows, listed)}
    figures |= {"training turns": turns.height, "dialogues": dialogues}
    return StepResult(rows, figures)


def _shared_tables(ctx: StepContext) -> dict[str, pl.DataFrame]:
    """The tables that partitions read; other tables name the rows of one by its singular.

    contexts: context_id, first and last row of its samples; in order
    dialogues: context, dialogue; of all splits
    texts: context_id, first and last row of each training context; by id
    turns: text, dialogue; of each training turn with a ground truth
    answers: turn, item; one row for each sample that names it
    items: title, year
    """
    columns = ("sample_id", "context_id", "split", "ground_truth")
    samples = ctx.frame("conversations", *columns).with_columns(dialogue=dialogue_ids(ctx.config))
    samples = samples.with_columns(pl.col("dialogue").rank("dense") - 1)
    contexts = context_spans(ctx, "conversations")
    numbers = contexts.select("context_id").with_row_index("context")
    train = samples.filter(pl.col("split") == "train")
    texts = contexts.join(train, on="context_id", how="semi").sort("context_id")
    answers = (
        train.with_row_index("sample")
        .explode("ground_truth")
        .drop_nulls("ground_truth")
        .unnest("ground_truth")
        .unique(["sample", "title", "year"])
        .join(texts.select("context_id").with_row_index("text"), on="context_id")
    )
    turns = answers.select("text", "dialogue").unique().sort("text", "dialogue")
    items = answers.select("title", "year").unique().sort("title", "year")
    answers = answers.join(turns.with_row_index("turn"), on=["text", "dialogue"]).join(
        items.with_row_index("item"), on=["title", "year"], nulls_equal=True
    )
    return {
        "contexts": contexts,
        "dialogues": samples.join(numbers, on="context_id").select("context", "dialogue").unique(),
        "texts": texts,
        "turns": turns,
        "answers": answers.select("turn", "item"),
        "items": items,
    }


def _build_partition(
    ctx: StepContext, shared: SharedTables, start: int, stop: int
) -> Iterator[pl.DataFrame]:
    """Build the lists of the contexts `start` to `stop`, CHUNK contexts a frame."""
    tables = {name: shared[name].collect() for name in ("texts", "turns", "answers", "items")}
    items = tables["items"]
    texts = _read_contexts(ctx, tables["texts"])["conversation"].to_list()
    turns = NearestTurns(texts, tables["turns"], tables["answers"], ctx.config)
    index = TitleIndex((str(item), *title) for item, title in enumerate(items.iter_rows()))
    in_partition = pl.col("context").is_between(start, stop, closed="left")
    dialogues = shared["dialogues"].filter(in_partition).collect()
    for first in range(start, stop, CHUNK):
        spans = shared["contexts"].slice(first, min(CHUNK, stop - first)).collect()
        contexts = _read_contexts(ctx, spans)
        own = dialogues.with_columns(text=pl.col("context").cast(pl.Int64) - first)
        own = own.filter(pl.col("text").is_between(0, spans.height, closed="left"))
        seen = [_seen_items(titles, index) for titles in contexts["seen"]]
        lists = list(turns.best_items(contexts["conversation"].to_list(), own, seen))
        yield _list_rows(ctx.config, contexts["context_id"], lists, items)


def _read_contexts(ctx: StepContext, spans: pl.DataFrame) -> pl.DataFrame:
    """Read the conversations of `spans` and what was seen: context_id, conversation, seen."""
    columns = ("context_id", "conversation", "seen")
    samples = rows_of_contexts(ctx, "conversations", spans, *columns)
    contexts = samples.group_by("context_id").agg(
        pl.col("conversation").first(), pl.col("seen").explode()
    )
    return spans.select("context_id").join(contexts, on="context_id", maintain_order="left")


def _seen_items(titles: pl.Series, index: TitleIndex) -> set[int]:
    """The items that a list of titles may mean: all of the same title without a year."""
    found = (index.find_all(seen["title"], seen["year"]) for seen in titles if seen)
    return {int(item) for items in found for item in items}


def _list_rows(
    config: Config, context_ids: pl.Series, lists: Sequence[Sequence[int]], items: pl.DataFrame
) -> pl.DataFrame:
    """One row per item: context_id, rank, line, title, year."""
    ranked = pl.DataFrame({"context_id": context_ids, "item": pl.Series(lists, dtype=_ITEMS)})
    ranked = ranked.with_columns(rank=pl.int_ranges(1, pl.col("item").list.len() + 1))
    rows = ranked.filter(pl.col("item").list.len() > 0).explode("item", "rank")
    titles = items[rows["item"].to_numpy()]
    lines = [config.llm_line_format.format(title, year) for title, year in titles.iter_rows()]
    return pl.DataFrame(
        {
            "context_id": rows["context_id"],
            "rank": rows["rank"].cast(pl.Int32),
            "line": pl.Series(lines, dtype=pl.String),
            "title": titles["title"],
            "year": titles["year"],
        }
    )


def list_figures(rows: ParquetRows, lists: int) -> dict[str, float]:
    """Items a list, and the share of items without a year."""
    undated = rows.scan().select(pl.col("year").null_count()).collect().item()
    return {
        "items a list": round(rows.height / max(lists, 1), 2),
        "without a year": round(undated / max(rows.height, 1), 4),
    }
