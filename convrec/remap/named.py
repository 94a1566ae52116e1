"""What the teachers named: distinct titles, what each means in the catalog, and who named which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from scipy.sparse import csr_matrix

    from convrec.artifacts import Job


@dataclass(frozen=True)
class Named:
    """The distinct items that teachers named; an item's number is its row in `items`.

    `items` has the columns title, year, position (catalog row, −1 where the catalog has no such
    item), linked_from, link_method, link_score, runner_up and runner_up_score. `lines` has one row
    for each context and item: context_id, item, rank (the best at which it is named), by rank.
    """

    items: pl.DataFrame
    lines: pl.DataFrame
    in_catalog: float  # share of the teachers' lines

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

    def p(self, context_ids: pl.Series) -> csr_matrix:
        """p: (contexts, items), 1/√rank of the best rank at which each is named."""
        import numpy as np
        import polars as pl
        from scipy.sparse import csr_matrix

        order = pl.DataFrame({"context_id": context_ids}).with_row_index("context")
        lines = self.lines.join(order, on="context_id").sort("context", "rank", "item")
        ends = np.searchsorted(lines["context"].to_numpy(), np.arange(len(context_ids) + 1))
        values = (lines["rank"].to_numpy() ** -0.5).astype(np.float32)
        shape = (len(context_ids), self.items.height)
        return csr_matrix((values, lines["item"].to_numpy(), ends), shape=shape)


def named(job: Job) -> Named:
    """Link what the teachers named to the catalog."""
    import polars as pl

    lists = job.frame("teacher_lists", "context_id", "rank", "title", "year")
    distinct = lists.select("title", "year").unique(maintain_order=True)
    items = distinct.hstack(_linked(job, distinct))
    numbers = distinct.with_row_index("item")
    lines = lists.join(
        numbers, on=["title", "year"], nulls_equal=True, maintain_order="left"
    ).select("context_id", pl.col("item").cast(pl.Int32), "rank")
    inside = items["position"].gather(lines["item"]) >= 0
    linked = int(inside.sum()) / max(len(inside), 1)
    best = lines.group_by("context_id", "item").agg(pl.col("rank").min())
    return Named(items, best.sort("context_id", "rank", "item"), linked)


_last: dict[tuple[str, ...], pl.DataFrame] = {}
"""The links of the last stored catalog and lists: asking, naming and building need the same."""


def _linked(job: Job, distinct: pl.DataFrame) -> pl.DataFrame:
    roles = ("catalog", "teacher_lists")
    if not job.parents.keys() >= set(roles) or job.frames.keys() & set(roles):
        return _links(distinct, job.frame("catalog"))
    key = tuple(job.parents[role].artifact_id for role in roles)
    links = _last.get(key)
    if links is None:
        links = _links(distinct, job.frame("catalog"))
        _last.clear()
        _last[key] = links
    return links


def _links(distinct: pl.DataFrame, catalog: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    from convrec.catalog.link import Linker
    from convrec.lists import format_line

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
