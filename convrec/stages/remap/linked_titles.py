"""What the teachers named: distinct titles, what each means in the catalog, and who named which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from scipy.sparse import csr_matrix

    from convrec.stages.base import StepContext


@dataclass(frozen=True)
class LinkedTitles:
    """The distinct items that teachers named; an item's number is its row in `items`.

    `items` has the columns title, year, lines (how many name it), position (catalog row, −1 where
    the catalog has no such item), linked_from, link_method, link_score, runner_up and
    runner_up_score.
    """

    items: pl.DataFrame

    @property
    def in_catalog(self) -> float:
        """The share of the teachers' lines that name an item of the catalog."""
        lines = self.items["lines"].to_numpy()
        return float(lines[self.position >= 0].sum()) / max(int(lines.sum()), 1)

    @property
    def position(self) -> np.ndarray:
        """Catalog row of each item, −1 where the catalog has no such item."""
        return self.items["position"].to_numpy()

    def carried(self, catalog_size: int) -> csr_matrix:
        """I: (items, catalog), 1 from an item to itself."""
        import numpy as np
        from scipy.sparse import csr_matrix

        linked = np.flatnonzero(self.position >= 0)
        ones = np.ones(len(linked), dtype=np.float32)
        shape = (self.items.height, catalog_size)
        return csr_matrix((ones, (linked, self.position[linked])), shape=shape)

    def p(self, context_ids: pl.Series, lists: pl.DataFrame) -> csr_matrix:
        """p: (contexts, items), 1/√rank of the best rank at which each is named.

        `lists` has the columns context_id, rank, title and year, of these contexts or more.
        """
        import numpy as np
        import polars as pl
        from scipy.sparse import csr_matrix

        order = pl.DataFrame({"context_id": context_ids}).with_row_index("context")
        numbers = self.items.select("title", "year").with_row_index("item")
        lines = (
            lists.join(order, on="context_id")
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
    """Link what the teachers named to the catalog."""
    import polars as pl

    role = "teacher_lists"
    if role in ctx.frames:
        titles = ctx.frame(role, "title", "year").group_by("title", "year", maintain_order=True)
        distinct = titles.agg(pl.len().cast(pl.Int64).alias("lines"))
    else:
        distinct = ctx.store.select(
            ctx.parents[role].artifact_id,
            "title, year, count(*) AS lines",
            'GROUP BY title, year ORDER BY min("row")',
        )
    return LinkedTitles(distinct.hstack(_linked(ctx, distinct.select("title", "year"))))


_last: dict[tuple[str, ...], pl.DataFrame] = {}
"""The links of the last stored catalog and lists: asking, naming and building need the same."""


def _linked(ctx: StepContext, distinct: pl.DataFrame) -> pl.DataFrame:
    roles = ("catalog", "teacher_lists")
    if not ctx.parents.keys() >= set(roles) or ctx.frames.keys() & set(roles):
        return links(distinct, ctx.frame("catalog"))
    key = tuple(ctx.parents[role].artifact_id for role in roles)
    found = _last.get(key)
    if found is None:
        found = links(distinct, ctx.frame("catalog"))
        _last.clear()
        _last[key] = found
    return found


def links(distinct: pl.DataFrame, catalog: pl.DataFrame) -> pl.DataFrame:
    """What each of the distinct titles (title, year) means in a catalog: a row a title."""
    import polars as pl

    from convrec.titles.line_format import format_line
    from convrec.titles.linker import Linker

    titles = distinct.rows()
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
        for title, link in zip(titles, Linker(catalog).link_many(titles), strict=True)
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
