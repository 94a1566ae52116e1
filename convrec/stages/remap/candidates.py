"""Scores every catalog item for every context, and keeps the best as candidates.

Contexts go through by partition, and in it in chunks, so memory is bounded by a partition's texts
and by CHUNK × catalog size, never by all contexts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from convrec.artifacts import StepResult
from convrec.artifacts.patched_rows import PatchedRows
from convrec.errors import InputError
from convrec.stages.base import Step, StepContext
from convrec.stages.partitions import CHUNK, Shared, build_partitions, rows_of, spans
from convrec.stages.remap.embedding import (
    embedding_inputs,
    embedding_requests,
    embeds,
    known_requests,
    recall_embeddings,
    settle_embeddings,
)
from convrec.stages.remap.incremental import earlier_candidates, reached
from convrec.stages.remap.linked_titles import LinkedTitles, link_teacher_titles
from convrec.stages.remap.similarity import failures, open_similarity
from convrec.utils.topk import top_columns

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from convrec.config import Config

THREADS = 8


class _Scorer:
    """Everything that is the same for a partition's contexts; `frame` scores a chunk of them."""

    def __init__(
        self, ctx: StepContext, wanted: pl.DataFrame, lists: pl.DataFrame, found: LinkedTitles
    ) -> None:
        self._settings = ctx.config.remap
        self._item_ids = ctx.frame("catalog")["item_id"]
        self._wanted, self._space = wanted, open_similarity(ctx, found, wanted)
        self._p = found.p(wanted["context_id"], lists)
        self._carried = found.carried(len(self._item_ids))
        self._position = found.position
        self._origins = found.items.select(
            "linked_from", "link_method", "link_score", "runner_up", "runner_up_score"
        )

    def frames(self) -> Iterator[pl.DataFrame]:
        """The candidates of the contexts, chunk by chunk, in order."""
        starts = range(0, self._wanted.height, CHUNK)
        with ThreadPoolExecutor(min(os.cpu_count() or 1, THREADS)) as threads:
            yield from threads.map(self.frame, starts)

    def frame(self, start: int) -> pl.DataFrame:
        """The candidates of a chunk of contexts, best first; ties keep the catalog's order."""
        import numpy as np
        import polars as pl

        chunk = self._wanted.slice(start, CHUNK)
        p = self._p[start : start + CHUNK]
        carried = (p @ self._carried).toarray()
        similar = self._space.similar(p) * np.float32(self._settings.similarity_weight)
        talk = self._space.talk(slice(start, start + CHUNK))
        talk *= np.float32(self._settings.conversation_weight)
        scores = carried + similar + talk
        best = top_columns(scores, self._settings.keep)
        kept = best.shape[1]

        def picked(matrix: np.ndarray) -> np.ndarray:
            return np.take_along_axis(matrix, best, axis=1).ravel().astype(np.float64)

        rows = np.repeat(np.arange(chunk.height), kept)
        return pl.DataFrame(
            {
                "context_id": chunk["context_id"].gather(rows),
                "rank": np.tile(np.arange(1, kept + 1, dtype=np.int32), chunk.height),
                "item_id": self._item_ids.gather(best.ravel()),
                "score": picked(scores),
                "identity": picked(carried),
                "similarity": picked(similar),
                "conversation": picked(talk),
            }
        ).hstack(self._origins.select(pl.all().gather(self._origin(p, best))))

    def _origin(self, p: Any, best: np.ndarray) -> pl.Series:
        """Which of the context's items was linked to each candidate, the best rank first."""
        import numpy as np
        import polars as pl

        origin = np.full((p.shape[0], len(self._item_ids)), -1, dtype=np.int32)
        # Items stand by rank in a row of p: from the last to the first, the first one stays.
        items, rows = p.indices[::-1], np.repeat(np.arange(p.shape[0]), np.diff(p.indptr))[::-1]
        linked = self._position[items] >= 0
        origin[rows[linked], self._position[items[linked]]] = items[linked]
        found = np.take_along_axis(origin, best, axis=1).ravel()
        return pl.Series(found).replace(-1, None)


def _build(ctx: StepContext) -> StepResult:
    found, asked = link_teacher_titles(ctx), _asked(ctx)
    if asked.is_empty():
        raise InputError(
            "no context has a teacher list, so there is nothing to remap; "
            "`convrec artifacts list` shows the teacher_lists artifact and its failures"
        )
    methods = found.items["link_method"].drop_nulls().value_counts(sort=True)
    return StepResult(
        _revised(ctx, found, asked)
        or build_partitions(ctx, _part, asked.height, {"items": found.items, "asked": asked}),
        {
            "contexts": asked.height,
            "teacher lines in catalog": round(found.in_catalog, 4),
            "distinct teacher items": found.items.height,
            **{f"linked: {method}": count for method, count in methods.iter_rows()},
            "not in catalog": found.items["link_method"].null_count(),
        },
        failures(ctx),
    )


def _revised(ctx: StepContext, found: LinkedTitles, asked: pl.DataFrame) -> PatchedRows | None:
    """The candidates as an edit of the catalog changed earlier ones, where it left most alone."""
    before = earlier_candidates(ctx, CANDIDATES.spec(ctx), asked.height)
    changed = reached(ctx, found, before) if before else None
    if before is None or changed is None:
        return None
    some = asked.with_row_index("number").filter(asked["context_id"].is_in(list(changed)))
    if some.is_empty():
        some = asked.with_row_index("number").head(1)  # parts have at least one
    # Here, and in a folder of its own: which contexts these are hangs on what was there before.
    here = StepContext(ctx.config, ctx.store, ctx.parents, ctx.progress)
    made = build_partitions(here, _part_again, some.height, {"items": found.items, "asked": some})
    return PatchedRows(made.files, made.held, earlier=before, store=ctx.store)


def _part_again(ctx: StepContext, shared: Shared, start: int, stop: int) -> Iterator[pl.DataFrame]:
    """As `_part`, with `row`, where each candidate stands among those of all contexts."""
    import polars as pl

    numbers = shared["asked"].select("context_id", "number").collect()
    row = pl.col("number").cast(pl.Int64) * ctx.config.remap.keep + pl.col("rank") - 1
    for frame in _part(ctx, shared, start, stop):
        placed = frame.join(numbers, on="context_id", maintain_order="left")
        yield placed.with_columns(row=row).drop("number")


def _asked(ctx: StepContext) -> pl.DataFrame:
    """The contexts that have a list, in order: context_id, row, and first and last row of it."""
    talks = spans(ctx, "conversations").select("context_id", row="first")
    lists = spans(ctx, "teacher_lists")
    return talks.join(lists, on="context_id", maintain_order="left")


def _part(ctx: StepContext, shared: Shared, start: int, stop: int) -> Iterator[pl.DataFrame]:
    """The candidates of some of the contexts."""
    asked = shared["asked"].slice(start, stop - start).collect()
    talks = asked.select("context_id", first="row", last="row")
    wanted = rows_of(ctx, "conversations", talks, "context_id", "conversation")
    wanted = wanted.join(asked, on="row", how="semi", maintain_order="left")
    lists = rows_of(ctx, "teacher_lists", asked, "context_id", "rank", "title", "year")
    yield from _Scorer(ctx, wanted, lists, LinkedTitles(shared["items"].collect())).frames()


def _config(config: Config) -> dict[str, Any]:
    # Whichever model embeds, and wherever it lies: the vectors used are an input of their own.
    return config.remap.model_dump(mode="json", exclude={"model"})


CANDIDATES = Step(
    stage="remap",
    kind="candidates",
    version=2,
    build=_build,
    config=_config,
    inputs=embedding_inputs,
    requests=embedding_requests,
    recall=recall_embeddings,
    settle=settle_embeddings,
    known=known_requests,
    asked=embeds,
)
