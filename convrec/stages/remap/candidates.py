"""The candidates artifact: the `remap.keep` best items of each context by s_remap.

    s_remap = p·I + w_S·(p·S) + λ·s_conv

with w_S = `remap.similarity_weight` and λ = `remap.conversation_weight`. The columns identity,
similarity and conversation hold the three terms, score their sum.

Departures from the paper: I is a fuzzy link and not an exact match; w_S may differ from 1; the
default S and s_conv are TF-IDF and not embeddings, and of titles instead of descriptions by the
teacher (`remap.describe`).

Every catalog item is scored for every context, CHUNK contexts at a time within a partition, so
memory is bounded by a partition's texts and by CHUNK × catalog size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from convrec.artifacts import StepResult
from convrec.artifacts.patched_rows import PatchedRows
from convrec.config import Config
from convrec.errors import InputError
from convrec.stages.base import Step, StepContext
from convrec.stages.contexts import (
    context_spans,
    conversation_contexts,
    read_texts,
    rows_of_contexts,
)
from convrec.stages.partitions import CHUNK, SharedTables, build_partitions
from convrec.stages.remap.embedding import EmbeddingResponses, vector_inputs
from convrec.stages.remap.incremental import affected_contexts, find_earlier_candidates
from convrec.stages.remap.linked_titles import (
    LINK_COLUMNS,
    LinkedTitles,
    link_teacher_titles,
    linking_inputs,
)
from convrec.stages.remap.similarity import missing_vector_failures, similarity_model
from convrec.utils.topk import top_columns

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

THREADS = 8


class _PartitionScorer:
    """Scores the contexts of one partition.

    `contexts` has one row a context, with context_id and conversation; `lists` has their teacher
    lists with context_id, rank, title, year; `titles` are those of all lists.
    """

    def __init__(
        self, ctx: StepContext, contexts: pl.DataFrame, lists: pl.DataFrame, titles: LinkedTitles
    ) -> None:
        self._settings = ctx.config.remap
        self._item_ids = ctx.frame("catalog")["item_id"]
        self._contexts = contexts
        self._similarity = similarity_model(ctx, titles, contexts)
        self._p = titles.rank_weights(contexts["context_id"], lists)
        self._identity = titles.identity_matrix(len(self._item_ids))
        self._position = titles.position
        self._links = titles.items.select(*LINK_COLUMNS)

    def score_chunks(self) -> Iterator[pl.DataFrame]:
        """Score CHUNK contexts a frame, in order."""
        starts = range(0, self._contexts.height, CHUNK)
        with ThreadPoolExecutor(min(os.cpu_count() or 1, THREADS)) as threads:
            yield from threads.map(self.score_chunk, starts)

    def score_chunk(self, start: int) -> pl.DataFrame:
        """The candidates of a chunk of contexts, best first; ties keep the catalog's order."""
        chunk = self._contexts.slice(start, CHUNK)
        p = self._p[start : start + CHUNK]
        identity = (p @ self._identity).toarray()
        similarity = self._similarity.item_similarity(p)
        similarity = similarity * np.float32(self._settings.similarity_weight)
        conversation = self._similarity.conversation_similarity(slice(start, start + CHUNK))
        conversation *= np.float32(self._settings.conversation_weight)
        scores = identity + similarity + conversation
        best = top_columns(scores, self._settings.keep)
        kept = best.shape[1]

        def pick(matrix: np.ndarray) -> np.ndarray:
            return np.take_along_axis(matrix, best, axis=1).ravel().astype(np.float64)

        rows = np.repeat(np.arange(chunk.height), kept)
        return pl.DataFrame(
            {
                "context_id": chunk["context_id"].gather(rows),
                "rank": np.tile(np.arange(1, kept + 1, dtype=np.int32), chunk.height),
                "item_id": self._item_ids.gather(best.ravel()),
                "score": pick(scores),
                "identity": pick(identity),
                "similarity": pick(similarity),
                "conversation": pick(conversation),
            }
        ).hstack(self._links.select(pl.all().gather(self._linked_titles(p, best))))

    def _linked_titles(self, p: csr_matrix, best: np.ndarray) -> pl.Series:
        """The number of the title linked to each candidate, the best-ranked one; null without."""
        title_of = np.full((p.shape[0], len(self._item_ids)), -1, dtype=np.int32)
        # A row of p is ordered by rank: assigned from last to first, the best rank remains.
        titles = p.indices[::-1]
        rows = np.repeat(np.arange(p.shape[0]), np.diff(p.indptr))[::-1]
        linked = self._position[titles] >= 0
        title_of[rows[linked], self._position[titles[linked]]] = titles[linked]
        return pl.Series(np.take_along_axis(title_of, best, axis=1).ravel()).replace(-1, None)


def _build(ctx: StepContext) -> StepResult:
    titles = link_teacher_titles(ctx)
    # context_id, row (the first in the conversations), and the list's first and last row
    contexts = conversation_contexts(ctx)
    lists = context_spans(ctx, "teacher_lists")
    contexts = contexts.join(lists, on="context_id", maintain_order="left")
    if contexts.is_empty():
        raise InputError(
            "no context has a teacher list, so there is nothing to remap; "
            "`convrec artifacts list` shows the teacher_lists artifact and its failures"
        )
    methods = titles.items["link_method"].drop_nulls().value_counts(sort=True)
    shared = {"titles": titles.items, "contexts": contexts}
    return StepResult(
        _patch_earlier(ctx, titles, contexts)
        or build_partitions(ctx, _build_partition, contexts.height, shared),
        {
            "contexts": contexts.height,
            "teacher lines in catalog": round(titles.in_catalog, 4),
            "distinct teacher items": titles.items.height,
            **{f"linked: {method}": count for method, count in methods.iter_rows()},
            "not in catalog": titles.items["link_method"].null_count(),
        },
        missing_vector_failures(ctx),
        useless="" if titles.in_catalog else _not_in_catalog_message(ctx, titles),
    )


def _not_in_catalog_message(ctx: StepContext, titles: LinkedTitles) -> str:
    """That no title of the teacher is in the catalog, with an example of both."""
    written, in_catalog = (
        repr(ctx.config.llm_line_format.format(*frame.select("title", "year").row(0)))
        for frame in (titles.items, ctx.frame("catalog"))
    )
    return (
        f"none of the {titles.items.height:,} titles that the teacher named is in the catalog: it "
        f"wrote {written}, and the catalog has {in_catalog}. A catalog of another domain? Set "
        f"ingest.catalog to the one of the {ctx.config.domain.plural_noun} that the teacher is "
        "asked for, or look at the teacher_lists artifact with `convrec artifacts show`"
    )


def _patch_earlier(
    ctx: StepContext, titles: LinkedTitles, contexts: pl.DataFrame
) -> PatchedRows | None:
    """Rescore only the contexts that a catalog edit affects; None to build everything."""
    earlier = find_earlier_candidates(ctx, CANDIDATES.spec(ctx), contexts.height)
    if earlier is None or (affected := affected_contexts(ctx, titles, earlier)) is None:
        return None
    numbered = contexts.with_row_index("number")
    chosen = numbered.filter(contexts["context_id"].is_in(list(affected)))
    if chosen.is_empty():
        chosen = numbered.head(1)  # a partition has at least one context
    # Built here and in a temporary folder: the affected contexts depend on the earlier artifact.
    here = StepContext(ctx.config, ctx.store, ctx.parents, ctx.progress)
    shared = {"titles": titles.items, "contexts": chosen}
    rows = build_partitions(here, _build_numbered_partition, chosen.height, shared)
    return PatchedRows(rows.files, rows.cleanup, earlier=earlier, store=ctx.store)


def _build_numbered_partition(
    ctx: StepContext, shared: SharedTables, start: int, stop: int
) -> Iterator[pl.DataFrame]:
    """Build a partition whose rows have `row`, their number among the rows of all contexts."""
    numbers = shared["contexts"].select("context_id", "number").collect()
    row = pl.col("number").cast(pl.Int64) * ctx.config.remap.keep + pl.col("rank") - 1
    for frame in _build_partition(ctx, shared, start, stop):
        numbered = frame.join(numbers, on="context_id", maintain_order="left")
        yield numbered.with_columns(row=row).drop("number")


def _build_partition(
    ctx: StepContext, shared: SharedTables, start: int, stop: int
) -> Iterator[pl.DataFrame]:
    """Build the candidates of the contexts `start` to `stop`."""
    contexts = shared["contexts"].slice(start, stop - start).collect()
    conversations = read_texts(ctx, contexts)
    lists = rows_of_contexts(ctx, "teacher_lists", contexts, "context_id", "rank", "title", "year")
    titles = LinkedTitles(shared["titles"].collect())
    yield from _PartitionScorer(ctx, conversations, lists, titles).score_chunks()


def _config(config: Config) -> dict[str, Any]:
    # The digest of a model's vectors is an input (`vector_inputs`), and descriptions are a parent.
    weights = ("similarity_weight", "conversation_weight", "keep")
    return config.remap.identity_settings("similarity", "links", *weights)


CANDIDATES = Step(
    stage="remap",
    kind="candidates",
    version=2,
    build=_build,
    config=_config,
    inputs=lambda ctx: vector_inputs(ctx) | linking_inputs(ctx),
    responses=EmbeddingResponses(),
)
