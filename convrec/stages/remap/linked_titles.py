"""p and I of s_remap = p·(S + I) + λ·s_conv: the teachers' titles and their links to the catalog.

The paper's I is an exact match; here it is a fuzzy link (`convrec.titles.linker`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from convrec.stages.base import StepContext
from convrec.titles.line_format import format_line
from convrec.titles.linker import Linker

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class LinkedTitles:
    """The distinct titles of all teacher lists; a title's number is its row in `items`.

    `items` has the columns title, year, lines (number of list lines with it), position (catalog
    row, −1 without a link), linked_from, link_method, link_score, runner_up and runner_up_score.
    """

    items: pl.DataFrame

    @property
    def in_catalog(self) -> float:
        """The share of list lines whose title is linked."""
        lines = self.items["lines"].to_numpy()
        return float(lines[self.position >= 0].sum()) / max(int(lines.sum()), 1)

    @property
    def position(self) -> np.ndarray:
        """(titles,) Catalog row of each title, −1 without a link."""
        return self.items["position"].to_numpy()

    def identity_matrix(self, catalog_size: int) -> csr_matrix:
        """I: (titles, catalog) float32, 1 from a title to its item."""
        from scipy.sparse import csr_matrix

        linked = np.flatnonzero(self.position >= 0)
        ones = np.ones(len(linked), dtype=np.float32)
        shape = (self.items.height, catalog_size)
        return csr_matrix((ones, (linked, self.position[linked])), shape=shape)

    def rank_weights(self, context_ids: pl.Series, lists: pl.DataFrame) -> csr_matrix:
        """p: (contexts, titles) float32, 1/√rank of a title's best rank in the context's list.

        Args:
            context_ids: The contexts, one a row of p.
            lists: context_id, rank, title, year; may have other contexts as well.

        Returns:
            p, the entries of a row ordered by rank.
        """
        from scipy.sparse import csr_matrix

        contexts = pl.DataFrame({"context_id": context_ids}).with_row_index("context")
        numbers = self.items.select("title", "year").with_row_index("item")
        lines = (
            lists.join(contexts, on="context_id")
            .join(numbers, on=["title", "year"], nulls_equal=True)
            .group_by("context", "item")
            .agg(pl.col("rank").min())
            .sort("context", "rank", "item")
        )
        ends = np.searchsorted(lines["context"].to_numpy(), np.arange(len(context_ids) + 1))
        values = (lines["rank"].to_numpy() ** -0.5).astype(np.float32)
        shape = (len(context_ids), self.items.height)
        return csr_matrix((values, lines["item"].to_numpy(), ends), shape=shape)


def link_teacher_titles(ctx: StepContext) -> LinkedTitles:
    """Link the titles of the teacher lists to the catalog."""
    role = "teacher_lists"
    if role in ctx.frames:
        titles = ctx.frame(role, "title", "year").group_by("title", "year", maintain_order=True)
        distinct = titles.agg(pl.len().cast(pl.Int64).alias("lines"))
    else:
        distinct = ctx.store.query(
            ctx.parents[role].artifact_id,
            "title, year, count(*) AS lines",
            'GROUP BY title, year ORDER BY min("row")',
        )
    return LinkedTitles(distinct.hstack(_cached_links(ctx, distinct.select("title", "year"))))


_CACHE: dict[tuple[str, ...], pl.DataFrame] = {}
"""Links by the ids of catalog and teacher lists; only the last ones. A run needs them three times:
to send requests, to name the artifact and to build it."""


def _cached_links(ctx: StepContext, titles: pl.DataFrame) -> pl.DataFrame:
    roles = ("catalog", "teacher_lists")
    if not ctx.parents.keys() >= set(roles) or ctx.frames.keys() & set(roles):
        return link_to_catalog(titles, ctx.frame("catalog"))
    key = tuple(ctx.parents[role].artifact_id for role in roles)
    links = _CACHE.get(key)
    if links is None:
        links = link_to_catalog(titles, ctx.frame("catalog"))
        _CACHE.clear()
        _CACHE[key] = links
    return links


def link_to_catalog(titles: pl.DataFrame, catalog: pl.DataFrame) -> pl.DataFrame:
    """Link distinct titles (title, year) to a catalog.

    Returns:
        One row a title: position, linked_from, link_method, link_score, runner_up,
        runner_up_score; position is −1 and the others are null without a link.
    """
    written = titles.rows()
    row_of = {item_id: row for row, item_id in enumerate(catalog["item_id"])}
    rows = [
        (
            row_of[link.item_id],
            format_line(*title),
            link.method,
            link.score,
            link.runner_up,
            link.runner_up_score,
        )
        if link
        else (-1, None, None, None, None, None)
        for title, link in zip(written, Linker(catalog).link_many(written), strict=True)
    ]
    schema = {
        "position": pl.Int64,
        "linked_from": pl.String,
        "link_method": pl.String,
        "link_score": pl.Float64,
        "runner_up": pl.String,
        "runner_up_score": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
