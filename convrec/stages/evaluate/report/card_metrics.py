"""The metrics that a model card shows, and how the lists behind them were made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

from convrec.artifacts import ArtifactRecord, Store
from convrec.artifacts.lineage import descendants
from convrec.metrics.list_quality import QUALITY_METRICS
from convrec.stages.evaluate.held_out_facts import UNIT, held_out_json, reachable_text
from convrec.stages.evaluate.report.markdown import systems_markdown
from convrec.stages.evaluate.report.tables import system_cells
from convrec.utils.markdown import markdown_table


class Measured(NamedTuple):
    """One evaluation that covers a checkpoint.

    `systems` has all rows of the test set, `own` the names of those that are of the checkpoint,
    `samplers` how the lists of each model were made, and `figures` those of the artifact.
    """

    artifact_id: str
    systems: Mapping[str, Mapping[str, Any]]
    own: tuple[str, ...]
    samplers: Mapping[str, Mapping[str, Any]]
    figures: Mapping[str, Any]
    day: date


def find_metrics(store: Store, checkpoint: str) -> list[Measured]:
    """All metrics of the checkpoint's lists that are in the warehouse, oldest first."""
    below = descendants(store, checkpoint)
    lists = {
        h.ref.artifact_id
        for h in below
        if h.ref.kind == "generations" and h.parents.get("checkpoint") == checkpoint
    }
    found = (_measured(store, h, lists) for h in below if h.ref.kind == "metrics")
    return [measured for measured in found if measured.own]


def _measured(store: Store, metrics: ArtifactRecord, lists: set[str]) -> Measured:
    name = metrics.ref.artifact_id
    systems = system_cells(store.read(name))
    generated = {
        role.removeprefix("generations_"): parent
        for role, parent in metrics.parents.items()
        if role.startswith("generations_")
    }
    own = tuple(s for s, parent in generated.items() if parent in lists and s in systems)
    samplers = {s: _sampler(store.header(parent)) for s, parent in generated.items()} if own else {}
    return Measured(name, systems, own, samplers, metrics.figures, metrics.created_at.date())


def _sampler(generations: ArtifactRecord) -> dict[str, Any]:
    """How lists were made, as far as the artifact says."""
    names = {"sampler": "sampler", "temperature": "temperature", "lists a post": "lists_per_post"}
    figures = generations.figures
    return {name: figures[figure] for figure, name in names.items() if figure in figures}


def metrics_text(measured: Measured) -> str:
    """The metrics of the checkpoint's lists and of the other systems, and how lists were made."""
    systems, own = measured.systems, measured.own
    rows = {f"{s} (this)" if s in own else s: row for s, row in systems.items()}
    n = systems[own[0]]["ndcg@20"]["n"]
    parts = [
        f"### Evaluation of {measured.day}",
        f"On {n:,} test samples, protocol standard, with 95% intervals over "
        f"{measured.figures.get(UNIT, 'posts')}. Artifact {measured.artifact_id}.",
        systems_markdown(rows, QUALITY_METRICS),
        *filter(None, [reachable_text(held_out_json(measured.figures, own))]),
    ]
    columns = ("sampler", "temperature", "lists_per_post")
    samplers = [
        [system, *(how.get(column, "-") for column in columns)]
        for system, how in measured.samplers.items()
        if how and system in systems
    ]
    if samplers:
        header = ["system", "sampler", "temperature", "lists a post"]
        parts.append(
            f"How the lists of the models were made:\n\n{markdown_table(header, samplers)}"
        )
    if {"free", "served"} & set(own):
        parts.append(
            "`free` is this model alone, nothing enforced. `served` is what `convrec recommend` "
            "gives: N different items of the catalog that the conversation does not name."
        )
    return "\n\n".join(parts)
