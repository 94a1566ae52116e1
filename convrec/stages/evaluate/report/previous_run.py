"""The previous run of the same profile, for the report to show what has changed since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import polars as pl

    from convrec.stages.base import StepContext

SHOWN = ("recall@5", "recall@20", "ndcg@5", "ndcg@20", "in_catalog", "exact_n", "repeats")


Found = tuple[float, float, float]
"""Value, low, high."""


class Change(NamedTuple):
    """One figure of one system, before and now; `apart` where the intervals do not overlap."""

    before: float
    now: float
    apart: bool


def previous_metrics(ctx: StepContext) -> str:
    """The metrics that this profile's runs had before those of this job were made, or nothing.

    It is those that were made last before them: the answer stays the same when a run comes back to
    what an earlier one had.
    """
    from convrec.artifacts.runs import runs

    current = ctx.parents.get("metrics")
    if current is None or ctx.store.find(current.artifact_id) is None:
        return ""
    known = {
        used.artifact_id
        for run in runs(ctx.store)
        if run.profile == ctx.config.profile
        for used in run.artifacts
        if used.node == "metrics"
    }
    since = ctx.store.header(current.artifact_id).created_at
    stored = (ctx.store.header(name) for name in known if ctx.store.find(name))
    earlier = [(h.created_at, h.ref.artifact_id) for h in stored if h.created_at < since]
    return max(earlier)[1] if earlier else ""


def what_changed(ctx: StepContext, now: pl.DataFrame, artifact_id: str) -> dict[str, Any]:
    """System → metric → Change, and which settings and inputs differ; empty without a previous."""
    if not artifact_id:
        return {}
    then, cells = _cells(ctx.store.read(artifact_id)), _cells(now)
    systems = {
        system: {
            name: _change(then[system, name], cells[system, name])
            for name in SHOWN
            if (system, name) in then and (system, name) in cells
        }
        for system in dict.fromkeys(system for system, _ in cells)
    }
    before, after = _parents(ctx, artifact_id), _parents(ctx, ctx.parents["metrics"].artifact_id)
    return {
        "artifact_id": artifact_id,
        "made": ctx.store.header(artifact_id).created_at,
        "systems": {system: changes for system, changes in systems.items() if changes},
        "new": [s for s in dict.fromkeys(s for s, _ in cells) if (s, "ndcg@20") not in then],
        "gone": [s for s in dict.fromkeys(s for s, _ in then) if (s, "ndcg@20") not in cells],
        "artifacts": [
            (role, before.get(role, ""), after.get(role, ""))
            for role in dict.fromkeys([*before, *after])
            if before.get(role) != after.get(role)
        ],
    }


def _change(then: Found, now: Found) -> Change:
    apart = now[2] < then[1] or now[1] > then[2]
    return Change(then[0], now[0], apart)


def _parents(ctx: StepContext, artifact_id: str) -> dict[str, str]:
    return dict(ctx.store.header(artifact_id).parents)


def _cells(metrics: pl.DataFrame) -> dict[tuple[str, str], Found]:
    whole = metrics["slice"].is_null() & metrics["versus"].is_null()
    rows = metrics.filter(whole & (metrics["protocol"] == "standard"))
    return {
        (system, name): (value, low, high)
        for system, name, value, low, high in rows.select(
            "system", "metric", "value", "low", "high"
        ).iter_rows()
    }
