"""Plans a rebuild for a new catalog version: its cost, and the contexts that it affects.

The costs are those of `convrec plan`. A context is affected if its candidates, computed in memory,
differ from those of the last build.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from convrec.artifacts import Store
from convrec.artifacts.last_build import PreviousBuild, find_last_build
from convrec.catalog.diff import CatalogDiff, diff_catalogs
from convrec.config import DATA_STAGES, Config
from convrec.pipeline.cost import most_requests, requests_text
from convrec.pipeline.plan import PlanBuilder, build_plan

_ORDER_COLUMNS = ("context_id", "rank", "item_id")


@dataclass(frozen=True)
class ChangePlan:
    """The plan of a rebuild.

    `previous` is the last build with the same settings and `diff` the changes since its catalog;
    both are None if there is no such build. `affected_contexts` is the number of contexts whose
    candidates change, None until the teacher has answered. `stages` and `llm` are as in
    `convrec plan`.
    """

    profile: str
    previous: PreviousBuild | None
    diff: CatalogDiff | None
    items: int
    contexts: int
    affected_contexts: int | None
    stages: list[dict[str, Any]]
    llm: dict[str, dict[str, Any]]

    @property
    def requests(self) -> str:
        """The number of requests to send: "1,786", or "1,786 to 4,800" while it is not exact."""
        return requests_text(
            sum(int(figures["requests"]) for figures in self.llm.values()),
            sum(most_requests(figures) for figures in self.llm.values()),
        )

    @property
    def usd(self) -> tuple[float, float]:
        """(lowest, highest) cost in US dollars."""
        low, high = (
            sum(float(figures[f"usd_{end}"]) for figures in self.llm.values())
            for end in ("low", "high")
        )
        return low, high


def plan_change(config: Config, store: Store) -> ChangePlan:
    """Plan the data stages of a configuration whose catalog has changed. Raises InputError."""
    plan = build_plan(config, store)
    previous = find_last_build(config, store)
    items = plan.ctx.frame("catalog")
    old_items = store.read(previous.refs["catalog"].artifact_id) if previous else None
    return ChangePlan(
        profile=config.profile,
        previous=previous,
        diff=None if old_items is None else diff_catalogs(old_items, items),
        items=items.height,
        contexts=plan.ctx.frame("conversations", "context_id").n_unique(),
        affected_contexts=_count_affected(plan, previous),
        stages=[entry for entry in plan.stages if entry["stage"] in DATA_STAGES],
        llm=plan.llm,
    )


def _count_affected(plan: PlanBuilder, previous: PreviousBuild | None) -> int | None:
    """The number of contexts with other candidates, or another order, than in the last build."""
    if "candidates" not in plan.resolver.refs and "candidates" not in plan.resolver.frames:
        return None
    new = _candidate_orders(plan.ctx.frame("candidates", *_ORDER_COLUMNS))
    if previous is None or not previous.has("candidates"):
        return new.height
    old_id = previous.refs["candidates"].artifact_id
    old = _candidate_orders(plan.resolver.store.read(old_id, *_ORDER_COLUMNS))
    both = new.join(old, on="context_id", how="full", suffix="_old")
    return both.filter(both["items"].ne_missing(both["items_old"])).height


def _candidate_orders(candidates: pl.DataFrame) -> pl.DataFrame:
    """One row per context: context_id, and `items`, its candidates in order as one text."""
    return (
        candidates.sort("context_id", "rank")
        .group_by("context_id", maintain_order=True)
        .agg(pl.col("item_id").str.join("\x1f").alias("items"))
    )
