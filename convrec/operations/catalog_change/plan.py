"""What a new version of a catalog will mean for a profile, before anything is rebuilt.

The walk is the one of `convrec plan`, so requests, tokens and dollars are what a run would send.
What is touched is told by the candidates: they are computed in memory and laid beside those of the
last build.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convrec.artifacts.last_build import last_build
from convrec.catalog.diff import CatalogDiff, diff_catalogs
from convrec.config import DATA_STAGES

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts import Store
    from convrec.artifacts.last_build import Build
    from convrec.config import Config
    from convrec.pipeline.plan import PlanBuilder


@dataclass(frozen=True)
class ChangePlan:
    """The plan of a rebuild.

    `before` is what the profile built last, None where it never did with these settings; `diff` is
    from its catalog to the new one. `contexts` are all, `touched` those whose candidates change,
    None where this cannot be known before the teacher has answered. `stages` and `llm` are as in
    `convrec plan`.
    """

    profile: str
    before: Build | None
    diff: CatalogDiff | None
    items: int
    contexts: int
    touched: int | None
    stages: list[dict[str, Any]]
    llm: dict[str, dict[str, Any]]

    @property
    def requests(self) -> int:
        """How many requests would be sent."""
        return sum(int(figures["requests"]) for figures in self.llm.values())

    @property
    def usd(self) -> tuple[float, float]:
        """(lowest, highest) bill in US dollars."""
        low, high = (
            sum(float(figures[f"usd_{end}"]) for figures in self.llm.values())
            for end in ("low", "high")
        )
        return low, high


def change_plan(config: Config, store: Store) -> ChangePlan:
    """Plan the data stages of a configuration whose catalog has changed. Raises InputError."""
    from convrec.pipeline.plan import build_plan

    made = build_plan(config, store)
    before = last_build(config, store)
    items = made.ctx.frame("catalog")
    old = store.read(before.refs["catalog"].artifact_id) if before else None
    return ChangePlan(
        profile=config.profile,
        before=before,
        diff=None if old is None else diff_catalogs(old, items),
        items=items.height,
        contexts=made.ctx.frame("conversations", "context_id").n_unique(),
        touched=_touched(made, before),
        stages=[entry for entry in made.stages if entry["stage"] in DATA_STAGES],
        llm=made.llm,
    )


def _touched(made: PlanBuilder, before: Build | None) -> int | None:
    """Contexts whose candidates are others, or stand in another order, than in the last build."""
    if "candidates" not in made.resolver.refs and "candidates" not in made.resolver.frames:
        return None
    new = _orders(made.ctx.frame("candidates", *_ORDER))
    if before is None or not before.has("candidates"):
        return new.height
    old = _orders(made.resolver.store.read(before.refs["candidates"].artifact_id, *_ORDER))
    both = new.join(old, on="context_id", how="full", suffix="_old")
    return both.filter(both["items"].ne_missing(both["items_old"])).height


_ORDER = ("context_id", "rank", "item_id")


def _orders(candidates: pl.DataFrame) -> pl.DataFrame:
    """One row a context: context_id, and its candidates in order."""
    import polars as pl

    return (
        candidates.sort("context_id", "rank")
        .group_by("context_id", maintain_order=True)
        .agg(pl.col("item_id").str.join("\x1f").alias("items"))
    )
