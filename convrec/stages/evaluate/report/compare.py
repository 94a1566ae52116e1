"""`convrec compare`: what differs between two or more runs, on one self-contained page.

Each run is compared with the first: by paired differences where both have lists for the same
samples, otherwise by their intervals. The page begins with what differs. What is the same in all
runs is collapsed at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from convrec.artifacts import Store
from convrec.catalog.diff import diff_catalogs
from convrec.config.overrides import flatten, format_override
from convrec.errors import InputError
from convrec.stages.evaluate.paired import PAIRED_METRICS
from convrec.stages.evaluate.report.charts import Dot, dot_chart
from convrec.stages.evaluate.report.compared_run import ComparedRun
from convrec.stages.evaluate.report.markdown import estimate_text
from convrec.stages.evaluate.report.run_pairs import RunPair
from convrec.stages.evaluate.report.step import render_page
from convrec.stages.evaluate.report.tables import (
    HEADLINE_METRIC,
    metric_decimals,
    metric_headings,
    ranking_columns,
)
from convrec.stages.evaluate.report.verdict import (
    Finding,
    compare_in_words,
    interval_text,
    system_name,
)
from convrec.stages.evaluate.samples import held_out_samples

OTHER_COLUMNS = ("in_catalog", "exact_n", "repeats", "popularity_rank", "popularity_gini")
"""Columns after the ranking metrics."""

MIN_RUNS = 2
_COLORS = 10

HEADLINE_SYSTEMS = (
    *("rank_grpo", "checkpoint", "sft", "adjusted", "reflected", "remapped", "teacher"),
    *("served", "free", "base", "knn", "popularity"),
)
"""The first of these with other lists is in the sentence at the top of the page."""

_HIDDEN_SETTINGS = ("description",)
_DATA_ROLES = ("catalog", "conversations")


class NumberedPair(NamedTuple):
    """The number of a run on the page, and its differences from run 1."""

    number: int
    pair: RunPair


def comparison_page(store: Store, runs: Sequence[ComparedRun], pairs: Sequence[RunPair]) -> str:
    """Render the page; `pairs` are of the first run and each other one.

    Raises InputError for fewer than two runs.
    """
    check_runs(runs)
    numbered = [NumberedPair(number, pair) for number, pair in enumerate(pairs, start=2)]
    systems = list(dict.fromkeys(system for run in runs for system in run.systems))
    equal = [system for system in systems if _is_equal(runs, system)]
    settings = _differences([flatten(run.config) for run in runs])
    artifacts = _differences([dict(run.header.parents) for run in runs])
    context = {
        "runs": runs,
        "pairs": [each for each in numbered if each.pair.systems],
        "findings": [_finding(runs, each) for each in numbered],
        "settings": {key: row for key, row in settings.items() if key not in _HIDDEN_SETTINGS},
        "data": _data_differences(store, runs, artifacts),
        "artifacts": artifacts,
        "differing": [system for system in systems if system not in equal],
        "equal": equal,
        "compared": PAIRED_METRICS,
        "headings": metric_headings("N"),
        "decimals": metric_decimals(),
        "charts": {system: _ndcg_chart(runs, system) for system in systems},
        "columns": ranking_columns() + OTHER_COLUMNS,
    }
    return render_page(context, "compare.html")


def check_runs(runs: Sequence[object]) -> None:
    """Raise InputError for fewer than two runs."""
    if len(runs) < MIN_RUNS:
        raise InputError("a comparison needs two or more runs; pass at least two run ids")


def _finding(runs: Sequence[ComparedRun], numbered: NumberedPair) -> Finding:
    """What the page says at its top about a run and the first."""
    number, pair = numbered
    first, run = runs[0], runs[number - 1]
    both = [s for s in HEADLINE_SYSTEMS if s in first.systems and s in run.systems]
    system = next((s for s in both if s not in pair.same), None)
    if system is None:
        text = "has the same lists as run 1" if both else "has no system in common with run 1"
        return Finding(f"Run {number} {text}", "no metric differs" if both else "not compared", 0)
    new, old = (
        f"{system_name(system, each.algorithm)} of run {n}"
        for n, each in ((number, run), (1, first))
    )
    if cell := pair.systems.get(system, {}).get(HEADLINE_METRIC):
        finding = compare_in_words(new, old, cell)
        return finding._replace(difference=f"{finding.difference}; {interval_text(cell)}")
    cells = [each.systems[system].get(HEADLINE_METRIC) for each in (run, first)]
    values = " and ".join(map(estimate_text, cells))
    why = pair.obstacle or "no sample has lists of both"
    return Finding(f"{new} and {old} cannot be paired: {why}", f"NDCG@20 {values}", 0)


def _is_equal(runs: Sequence[ComparedRun], system: str) -> bool:
    """Whether a system has the same metrics in all runs."""
    values = [
        {name: cell["value"] for name, cell in run.systems.get(system, {}).items()} for run in runs
    ]
    return all(each == values[0] for each in values)


def _data_differences(
    store: Store, runs: Sequence[ComparedRun], differing: dict[str, list[str]]
) -> dict[str, list[str]]:
    """Catalog and conversations, if they differ, in words."""
    describe = {"catalog": _catalog_text, "conversations": _conversations_text}
    return {
        role: [describe[role](store, name, differing[role][0]) for name in differing[role]]
        for role in _DATA_ROLES
        if role in differing
    }


def _catalog_text(store: Store, name: str, first: str) -> str:
    if store.find(name) is None:
        return "deleted"
    items = store.read(name)
    text = f"{items.height:,} items"
    if name == first or store.find(first) is None:
        return text
    frames = diff_catalogs(store.read(first), items).by_change
    return f"{text}: " + ", ".join(f"{rows.height:,} {change}" for change, rows in frames.items())


def _conversations_text(store: Store, name: str, first: str) -> str:
    if store.find(name) is None:
        return "deleted"
    rows = store.read(name)
    return f"{rows.height:,} samples, {len(held_out_samples(rows)):,} for the test"


def _ndcg_chart(runs: Sequence[ComparedRun], system: str) -> str:
    dots = [
        Dot(f"run {number}", cell["value"], cell["low"], cell["high"], (number - 1) % _COLORS)
        for number, run in enumerate(runs, start=1)
        if (cell := run.systems.get(system, {}).get(HEADLINE_METRIC))
    ]
    return dot_chart(dots, x_label="with 95% interval")


def _differences(values: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The keys with different values, and the value of each run."""
    texts = [{key: format_override(value) for key, value in each.items()} for each in values]
    keys = dict.fromkeys(key for each in texts for key in each)
    rows = {key: [each.get(key, "–") for each in texts] for key in keys}
    return {key: row for key, row in rows.items() if len(set(row)) > 1}


def comparison_json(run: ComparedRun, pair: RunPair | None = None) -> dict[str, Any]:
    """Return the entry of a run in the `--json` file of `convrec compare`.

    `pair` is that of the first run and this one; `versus_first` is left out if nothing is paired.
    """
    values = {s: {m: cell["value"] for m, cell in row.items()} for s, row in run.systems.items()}
    entry: dict[str, Any] = {"metrics_artifact": run.header.ref.artifact_id, "metrics": values}
    if pair and pair.systems:
        entry["versus_first"] = {
            system: {
                name: {"diff": cells[name]["value"]} | _pick(cells[name], "low", "high", "n")
                for name in PAIRED_METRICS
            }
            for system, cells in pair.systems.items()
        }
    return entry


def _pick(cell: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: cell[key] for key in keys}
