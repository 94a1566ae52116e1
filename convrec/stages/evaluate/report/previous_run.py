"""What changed since the previous run of the same profile."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from convrec.artifacts.runs import list_runs
from convrec.stages.base import StepContext
from convrec.stages.evaluate.paired import PAIRED_METRICS
from convrec.stages.evaluate.report.tables import Cell, system_cells

COMPARED_METRICS = (
    *PAIRED_METRICS,
    "in_catalog",
    "exact_n",
    "repeats",
)


class Change(NamedTuple):
    """A metric of a system before and now; `apart` if the two intervals do not overlap."""

    before: float
    now: float
    apart: bool


def previous_metrics(ctx: StepContext) -> str:
    """Return the id of the newest metrics of this profile that are older than the run's, or "".

    Creation times of metrics decide, so the result stays when a run returns to earlier metrics.
    """
    current = ctx.parents.get("metrics")
    if current is None or ctx.store.find(current.artifact_id) is None:
        return ""
    candidates = {
        artifact.artifact_id
        for run in list_runs(ctx.store)
        if run.profile == ctx.config.profile
        for artifact in run.artifacts
        if artifact.node == "metrics"
    }
    created = ctx.store.header(current.artifact_id).created_at
    headers = (ctx.store.header(name) for name in candidates if ctx.store.find(name))
    earlier = [(h.created_at, h.ref.artifact_id) for h in headers if h.created_at < created]
    return max(earlier)[1] if earlier else ""


def what_changed(ctx: StepContext, metrics: pl.DataFrame, previous_id: str) -> dict[str, Any]:
    """Return the changes since the metrics `previous_id`, by name; empty without an id."""
    if not previous_id:
        return {}
    before, now = system_cells(ctx.store.read(previous_id)), system_cells(metrics)
    systems = {
        system: {
            name: _change(before[system][name], cells[name])
            for name in COMPARED_METRICS
            if name in before.get(system, ()) and name in cells
        }
        for system, cells in now.items()
    }
    header = ctx.store.header(previous_id)
    old_parents = dict(header.parents)
    new_parents = dict(ctx.store.header(ctx.parents["metrics"].artifact_id).parents)
    return {
        "artifact_id": previous_id,
        "created": header.created_at,
        "systems": {system: changes for system, changes in systems.items() if changes},
        "new": [s for s in now if "ndcg@20" not in before.get(s, ())],
        "gone": [s for s in before if "ndcg@20" not in now.get(s, ())],
        "artifacts": [
            (role, old_parents.get(role, ""), new_parents.get(role, ""))
            for role in dict.fromkeys([*old_parents, *new_parents])
            if old_parents.get(role) != new_parents.get(role)
        ],
    }


def _change(before: Cell, now: Cell) -> Change:
    apart = now["high"] < before["low"] or now["low"] > before["high"]
    return Change(before["value"], now["value"], apart)
