"""`convrec compare`: the metrics of two or more runs on one self-contained page.

A run is named by the id of a flow run, the start of one, or the id of a `metrics` artifact. Runs
can have different samples, so nothing is paired: systems are compared by their intervals, and a
value is bold if its interval does not overlap with that of the first run.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from convrec.artifacts import ArtifactRecord, Store
from convrec.artifacts.runs import find_run
from convrec.config.overrides import flatten, format_override
from convrec.errors import InputError
from convrec.stages.evaluate.report.charts import Dot, dot_chart
from convrec.stages.evaluate.report.step import render_page
from convrec.stages.evaluate.report.tables import (
    Cell,
    metric_decimals,
    metric_headings,
    ranking_columns,
    system_cells,
)

OTHER_COLUMNS = ("in_catalog", "exact_n", "repeats", "popularity_rank", "popularity_gini")
"""Columns after the ranking metrics."""

MIN_RUNS = 2
_COLORS = 10


class ComparedRun(NamedTuple):
    """A run: its name, the header of its metrics, its configuration, and system → metric → row."""

    name: str
    header: ArtifactRecord
    config: dict[str, Any]
    systems: dict[str, dict[str, Cell]]


def read_run(store: Store, name: str) -> ComparedRun:
    """Read the metrics of a run. Raises InputError if there is no such run or it has no metrics."""
    config: dict[str, Any] = {}
    if name.startswith("metrics-"):
        artifact_id, title = name, name
    else:
        run = find_run(store, name)
        ids = [x.artifact_id for x in run.artifacts if x.artifact_id.startswith("metrics-")]
        if not ids:
            raise InputError(
                f"run {run.run_id} has no metrics; choose a run that completed stage evaluate"
            )
        artifact_id, config = ids[-1], run.config
        title = f"{run.profile or 'run'} {run.run_id[:8]}"
    systems = system_cells(store.read(artifact_id))
    return ComparedRun(title, store.header(artifact_id), config, systems)


def comparison_page(runs: list[ComparedRun]) -> str:
    """Render the page. Raises InputError for fewer than two runs."""
    if len(runs) < MIN_RUNS:
        raise InputError("a comparison needs two or more runs; pass at least two run ids")
    systems = list(dict.fromkeys(system for run in runs for system in run.systems))
    context = {
        "runs": runs,
        "systems": systems,
        "headings": metric_headings("N"),
        "decimals": metric_decimals(),
        "charts": {system: _ndcg_chart(runs, system) for system in systems},
        "columns": ranking_columns() + OTHER_COLUMNS,
        "settings": _differences([run.config for run in runs]),
        "parents": _differences([dict(run.header.parents) for run in runs]),
    }
    return render_page(context, "compare.html")


def _ndcg_chart(runs: list[ComparedRun], system: str) -> str:
    dots = [
        Dot(f"run {number}", cell["value"], cell["low"], cell["high"], (number - 1) % _COLORS)
        for number, run in enumerate(runs, start=1)
        if (cell := run.systems.get(system, {}).get("ndcg@20"))
    ]
    return dot_chart(dots, x_label="with 95% interval")


def _differences(configs: list[dict[str, Any]]) -> dict[str, list[str]]:
    flat = [
        {key: format_override(value) for key, value in flatten(config).items()}
        for config in configs
    ]
    keys = dict.fromkeys(key for config in flat for key in config)
    rows = {key: [config.get(key, "–") for config in flat] for key in keys}
    return {key: row for key, row in rows.items() if len(set(row)) > 1}


def comparison_json(run: ComparedRun) -> dict[str, Any]:
    """Return the entry of a run in the `--json` file of `convrec compare`."""
    values = {s: {m: cell["value"] for m, cell in row.items()} for s, row in run.systems.items()}
    return {"metrics_artifact": run.header.ref.artifact_id, "metrics": values}
