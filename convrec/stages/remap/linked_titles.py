"""p and I of s_remap = p·(S + I) + λ·s_conv: the teachers' titles and their links to the catalog.

The paper's I is an exact match (`remap.links=exact`); by default it is a fuzzy link
(`convrec.titles.linker`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from convrec.artifacts import ArtifactRef, Store
from convrec.config import Config
from convrec.stages.base import StepContext
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import format_line
from convrec.titles.linker import Link, Linker
from convrec.titles.parse import is_plain_title
from convrec.titles.remarks import kind_of_work
from convrec.utils.latest_value import LatestValue

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LINK_COLUMNS = {
    "linked_from": pl.String,
    "link_method": pl.String,
    "link_score": pl.Float64,
    "runner_up": pl.String,
    "runner_up_score": pl.Float64,
}

READING = "2"
"""Raise it whenever a title that is not plain would be linked in another way."""

_MAY_BE_OTHER = r"[(\[&%]|[^\x00-\x7f]"
"""Titles without a match are plain."""

_LATEST_LINKS: LatestValue[pl.DataFrame] = LatestValue()
"""A run needs the links three times: to send requests, to name the artifact and to build it."""


@dataclass(frozen=True)
class LinkedTitles:
    """The distinct titles of all teacher lists; a title's number is its row in `items`.

    `items` has the columns title, year, lines (number of list lines with it), position (catalog
    row, −1 without a link), and LINK_COLUMNS.
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

        The entries of a row are ordered by rank. `lists` has the columns context_id, rank, title,
        year; it may have other contexts as well.
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
        groups = ctx.frame(role, "title", "year").group_by("title", "year", maintain_order=True)
        distinct = groups.agg(pl.len().cast(pl.Int64).alias("lines"))
    else:
        distinct = ctx.store.query(
            ctx.parents[role].artifact_id,
            "title, year, count(*) AS lines",
            'GROUP BY title, year ORDER BY min("row")',
        )
    titles, roles = distinct.select("title", "year"), {"catalog", "teacher_lists"}
    if ctx.frames.keys() & roles:
        links = link_to_catalog(titles, ctx.frame("catalog"), ctx.config)
    else:
        artifacts = (ctx.parents[role].artifact_id for role in sorted(roles))
        key = (*artifacts, ctx.config.domain.noun, ctx.config.remap.links)
        links = _LATEST_LINKS.get(
            key, lambda: link_to_catalog(titles, ctx.frame("catalog"), ctx.config)
        )
    return LinkedTitles(distinct.hstack(links))


def linking_inputs(ctx: StepContext) -> dict[str, str]:
    """How titles are linked, as inputs of the step; empty if every version links them alike.

    That is so if no title of the lists and of the catalog has a remark in brackets, or signs that
    are read in another way now.
    """
    if all(_are_plain(ctx, role) for role in ("catalog", "teacher_lists")):
        return {}
    return {"linking": " ".join([READING, kind_of_work(ctx.config.domain.noun)]).strip()}


def _are_plain(ctx: StepContext, role: str) -> bool:
    if role in ctx.frames:
        titles = ctx.frame(role, "title")["title"].unique()
        others = titles.filter(titles.str.contains(_MAY_BE_OTHER)).to_list()
        return all(map(is_plain_title, others))
    return _is_plain_artifact(ctx.store, ctx.parents[role])


@lru_cache(maxsize=16)
def _is_plain_artifact(store: Store, ref: ArtifactRef) -> bool:
    condition = f"AND regexp_matches(title, '{_MAY_BE_OTHER}')"
    others = store.query(ref.artifact_id, "DISTINCT title", condition)
    return all(map(is_plain_title, others["title"]))


def link_to_catalog(titles: pl.DataFrame, catalog: pl.DataFrame, config: Config) -> pl.DataFrame:
    """Link distinct titles (title, year) to a catalog, as `remap.links` says.

    The columns are position (−1 without a link) and LINK_COLUMNS (null without a link).
    """
    written = titles.rows()
    row_of = {item_id: row for row, item_id in enumerate(catalog["item_id"])}
    if config.remap.links == "exact":
        links = _exact_links(written, catalog)
    else:
        links = Linker(catalog, config.domain.noun).link_many(written)
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
        else (-1, *(None for _ in LINK_COLUMNS))
        for title, link in zip(written, links, strict=True)
    ]
    return pl.DataFrame(rows, schema={"position": pl.Int64, **LINK_COLUMNS}, orient="row")


def _exact_links(
    titles: Iterable[tuple[str, int | None]], catalog: pl.DataFrame
) -> list[Link | None]:
    """Links by an equal title, with a year within two."""
    items = catalog.select("item_id", "title", "year").rows()
    index = TitleIndex(items)
    links = {item: Link(item, title, year, 100.0, "exact") for item, title, year in items}
    found = [index.find(title, year) for title, year in titles]
    return [links[item] if item else None for item in found]
