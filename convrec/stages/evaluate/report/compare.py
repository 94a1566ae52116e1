"""`convrec compare`: two or more runs side by side, on one page that needs nothing else.

A run is named by the id (or its first signs) of a flow run, or by the id of a `metrics` artifact.
Systems of different runs are compared by their intervals: their samples may not be the same ones,
so nothing here is paired. Where the intervals do not overlap the figure is in bold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from convrec.errors import InputError

if TYPE_CHECKING:
    from convrec.artifacts import ArtifactRecord, Store

RATES_SHOWN = ("in_catalog", "exact_n", "repeats", "popularity_rank", "popularity_gini")
AT_LEAST = 2


class ComparedRun(NamedTuple):
    """A run on the page: its name, its metrics artifact, and its figures by system and metric."""

    name: str
    header: ArtifactRecord
    config: dict[str, Any]
    systems: dict[str, dict[str, dict[str, Any]]]


def read_run(store: Store, name: str) -> ComparedRun:
    """The figures of a run. Raises InputError where there is none, or it measured nothing."""
    from convrec.artifacts.runs import find_run
    from convrec.stages.evaluate.report.tables import cells

    config: dict[str, Any] = {}
    if name.startswith("metrics-"):
        artifact_id, called = name, name
    else:
        run = find_run(store, name)
        used = [x.artifact_id for x in run.artifacts if x.artifact_id.startswith("metrics-")]
        if not used:
            raise InputError(
                f"run {run.run_id} has measured nothing; give one that ran stage evaluate"
            )
        artifact_id, config = used[-1], run.config
        called = f"{run.profile or 'run'} {run.run_id[:8]}"
    header = store.header(artifact_id)
    found = cells(store.read(artifact_id), "standard")
    systems = {system: row for (system, versus), row in found.items() if versus is None}
    return ComparedRun(called, header, config, systems)


def comparison_page(runs: list[ComparedRun]) -> str:
    """The page. Raises InputError for fewer than two runs."""
    from convrec.stages.evaluate.report.charts import Dot, dot_chart
    from convrec.stages.evaluate.report.step import render
    from convrec.stages.evaluate.report.tables import COLOURS, RANKING

    if len(runs) < AT_LEAST:
        raise InputError("a comparison needs two runs or more; give their ids")
    systems = list(dict.fromkeys(system for run in runs for system in run.systems))
    charts = {
        system: dot_chart(
            [
                Dot(f"run {number}", cell["value"], cell["low"], cell["high"], (number - 1) % 10)
                for number, run in enumerate(runs, start=1)
                if (cell := run.systems.get(system, {}).get("ndcg@20"))
            ],
            across="with its 95% interval",
        )
        for system in systems
    }
    contents = {
        "runs": runs,
        "systems": systems,
        "colours": {**{s: n % 10 for n, s in enumerate(systems)}, **COLOURS},
        "charts": charts,
        "ranking": RANKING,
        "rates": RATES_SHOWN,
        "settings": _differences([run.config for run in runs]),
        "parents": _differences([dict(run.header.parents) for run in runs]),
    }
    return render(contents, "compare.html")


def _differences(values: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Key → what each run has there, where they do not all have the same."""
    from convrec.config.overrides import as_override, flattened

    told = [{key: as_override(value) for key, value in flattened(one).items()} for one in values]
    keys = dict.fromkeys(key for one in told for key in one)
    rows = {key: [one.get(key, "–") for one in told] for key in keys}
    return {key: row for key, row in rows.items() if len(set(row)) > 1}


def plain_figures(run: ComparedRun) -> dict[str, Any]:
    """The figures of a run as `--json` writes them."""
    figures = {s: {m: cell["value"] for m, cell in row.items()} for s, row in run.systems.items()}
    return {"metrics_artifact": run.header.ref.artifact_id, "metrics": figures}
