"""Paired differences between two runs: their lists are scored again, sample by sample.

A `metrics` artifact has means and intervals only, so the lists are read from the artifacts behind
it. Runs are paired if they have the same conversations and lists of the same form; each is scored
with its own catalog.
"""

from __future__ import annotations

from typing import NamedTuple

from convrec.artifacts import Store
from convrec.config import Config
from convrec.stages.base import StepContext
from convrec.stages.evaluate.baselines import read_baselines
from convrec.stages.evaluate.evaluator import Evaluator, MetricValues
from convrec.stages.evaluate.metrics import KNN_FIGURE, score_settings
from convrec.stages.evaluate.paired import paired_rows
from convrec.stages.evaluate.report.compared_run import ComparedRun
from convrec.stages.evaluate.report.tables import Cell
from convrec.stages.evaluate.samples import read_samples
from convrec.stages.evaluate.systems import MODELS, system_lists

_SOURCES = {
    "teacher": ("teacher_lists",),
    "remapped": ("candidates",),
    "reflected": ("candidates", "judgments"),
    "adjusted": ("demonstrations",),
    **{model: (f"generations_{model}",) for model in MODELS},
}
"""System → the roles of the artifacts that its lists come from, besides the data."""

_DATA = ("catalog", "conversations")


class RunPair(NamedTuple):
    """A run compared with the first run.

    `systems` has system → metric → row of the difference run − first, for systems whose lists come
    from other artifacts; `same` are the others that both have. `obstacle` says why the runs cannot
    be paired, and is empty if they are.
    """

    systems: dict[str, dict[str, Cell]]
    same: list[str]
    obstacle: str = ""


def pair_runs(store: Store, first: ComparedRun, run: ComparedRun) -> RunPair:
    """Compute the paired differences run − first, by protocol `standard`."""
    both = [system for system in first.systems if system in run.systems]
    same = [s for s in both if _sources(first, s) == _sources(run, s)]
    differing = [system for system in both if system not in same]
    if obstacle := _obstacle(store, first, run, differing):
        return RunPair({}, same, obstacle)
    if not differing:
        return RunPair({}, same)
    (evaluator, before), (_, after) = (_scores(store, each, differing) for each in (first, run))
    systems: dict[str, dict[str, Cell]] = {}
    for system in differing:
        if system in before and system in after:
            names = (system, system)
            rows = paired_rows(evaluator, after[system], before[system], names, "standard")
            systems[system] = {row.metric: row._asdict() for row in rows}
    return RunPair({system: cells for system, cells in systems.items() if cells}, same)


def _sources(run: ComparedRun, system: str) -> dict[str, str | None]:
    roles = (*_DATA, *_SOURCES.get(system, ()))
    return {role: run.header.parents.get(role) for role in roles}


def _obstacle(store: Store, first: ComparedRun, run: ComparedRun, systems: list[str]) -> str:
    """Why the lists of two runs cannot be compared sample by sample; empty if they can."""
    settings = []
    for each in (first, run):
        config = each.settings
        if config is None:
            return f"the settings of {each.name} are not recorded, or no longer valid"
        settings.append(_list_form(config))
        sources = (_sources(each, system).values() for system in systems)
        needed = {artifact for ids in sources for artifact in ids if artifact}
        if not all(map(store.find, needed)):
            return f"artifacts of {each.name} are deleted"
    if first.header.parents.get("conversations") != run.header.parents.get("conversations"):
        return "the runs have different conversations"
    if settings[0] != settings[1]:
        return "the lists of the runs differ in length or form"
    return ""


def _list_form(config: Config) -> dict[str, object]:
    """The settings of scores that change what a score is, not how its interval is computed."""
    settings = score_settings(config)
    return {key: settings[key] for key in settings if key not in ("bootstrap", "seed")}


def _scores(
    store: Store, run: ComparedRun, systems: list[str]
) -> tuple[Evaluator, dict[str, MetricValues]]:
    """Score the lists of some systems of a run that is known to have settings."""
    roles = {role for system in systems for role in _sources(run, system)}
    refs = {role: store.find(run.header.parents[role]) for role in roles & set(run.header.parents)}
    config = run.settings or Config()
    ctx = StepContext(config, store, {role: ref for role, ref in refs.items() if ref})
    samples = read_samples(ctx)
    evaluator = Evaluator(samples, ctx.frame("catalog"), config)
    baselines = read_baselines(ctx, run.header.figures.get(KNN_FIGURE))
    lists = system_lists(ctx, samples, evaluator.index, baselines)
    return evaluator, {s: evaluator.values(lists[s], "standard") for s in systems if lists.get(s)}
