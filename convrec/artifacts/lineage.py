"""What artifacts were made from and what was made of them, as headers and as a mermaid diagram."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import polars as pl

from convrec.artifacts.identity import short_hash
from convrec.artifacts.record import ArtifactRecord
from convrec.artifacts.store import FOLDER_KINDS, Store
from convrec.errors import InputError
from convrec.utils.markdown import escape, markdown_table, mermaid_label

FRESH, CACHED, EARLIER, FAILED = "fresh", "cached", "earlier", "failed"
"""Built by this run; found in the cache; not used by this run, but an ancestor of what it used;
not built, because its step failed."""

STATE_WORDS = {
    FRESH: "built now",
    CACHED: "cached",
    EARLIER: "built earlier",
    FAILED: "failed",
}

_INTRODUCTION = (
    "## Lineage\nAn arrow goes from what was read to what was made of it. Click a node to open its "
    "own page with the figures. *Built earlier*: this run used only what was made from it.\n"
)

_THEME = (
    '%%{init: {"theme": "base", "themeVariables": {"lineColor": "#94a3b8", "fontSize": "15px"}}}%%'
)
"""Grey arrows, which are visible on the light and on the dark page."""

_STYLES = {
    FRESH: "fill:#dcfce7,stroke:#15803d,color:#14532d,stroke-width:2px",
    CACHED: "fill:#dbeafe,stroke:#1d4ed8,color:#1e3a8a,stroke-dasharray:5 3",
    EARLIER: "fill:#e4e4e7,stroke:#52525b,color:#27272a,stroke-dasharray:1 3",
    FAILED: "fill:#fee2e2,stroke:#b91c1c,color:#7f1d1d,stroke-width:3px",
}

_COLUMNS = ("artifact", "rows", "state", "made from", "run", "id")


class FailedNode(NamedTuple):
    """A node whose step failed: what it was to make, from which artifacts."""

    title: str
    parents: Collection[str] = ()


def ancestors(store: Store, artifact_id: str) -> list[ArtifactRecord]:
    """The artifact and everything that it was made from, the artifact first."""
    found: dict[str, ArtifactRecord] = {}
    waiting = [artifact_id]
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = store.header(name)
            waiting += found[name].parents.values()
    return list(found.values())


def descendants(store: Store, artifact_id: str) -> list[ArtifactRecord]:
    """The artifact and everything that was made from it, oldest first."""
    headers = store.headers()
    found = {artifact_id}
    is_growing = True
    while is_growing:
        children = {h.ref.artifact_id for h in headers if found & set(h.parents.values())}
        is_growing = not children <= found
        found |= children
    return [header for header in headers if header.ref.artifact_id in found]


def with_ancestors(store: Store, artifact_ids: Iterable[str]) -> list[ArtifactRecord]:
    """These artifacts and everything that they were made from, parents before children."""
    headers = {header.ref.artifact_id: header for header in store.headers()}
    found: dict[str, ArtifactRecord] = {}

    def visit(artifact_id: str) -> None:
        if artifact_id not in found:
            header = headers.get(artifact_id) or store.header(artifact_id)
            for parent in header.parents.values():
                visit(parent)
            found[artifact_id] = header

    for artifact_id in artifact_ids:
        visit(artifact_id)
    return list(found.values())


def checkpoint_catalog(store: Store, checkpoint: str) -> pl.DataFrame:
    """The catalog that a checkpoint was trained with. Raises InputError if there is none."""
    for header in ancestors(store, checkpoint):
        if header.ref.kind == "catalog":
            return store.read(header.ref.artifact_id)
    raise InputError(f"{checkpoint} has no catalog in its lineage; give one with --catalog FILE")


def checkpoint_conversations(store: Store, checkpoint: str, *columns: str) -> pl.DataFrame | None:
    """The conversations that a checkpoint was trained with: all columns, or those named.

    None if there are none in its lineage.
    """
    for header in ancestors(store, checkpoint):
        if header.ref.kind == "conversations":
            return store.read(header.ref.artifact_id, *columns)
    return None


def direct_edges(headers: Collection[ArtifactRecord]) -> list[tuple[str, str]]:
    """(parent, child) among these artifacts, without edges that a longer path implies."""
    parents = {header.ref.artifact_id: set(header.parents.values()) for header in headers}
    above: dict[str, set[str]] = {}

    def ancestors_of(child: str) -> set[str]:
        if child not in above:
            present = parents[child] & parents.keys()
            above[child] = present.union(*map(ancestors_of, present))
        return above[child]

    return [
        (parent, child)
        for child in parents
        for parent in sorted(parents[child] & parents.keys())
        if not any(parent in ancestors_of(other) for other in parents[child] & parents.keys())
    ]


def lineage_markdown(
    store: Store,
    artifact_ids: Collection[str],
    cached: Collection[str] = (),
    names: Mapping[str, str] | None = None,
    *,
    pages: Mapping[str, str] | None = None,
    failed: FailedNode | None = None,
    run_id: str = "",
) -> str:
    """Markdown with a mermaid diagram and a table of these artifacts and all their ancestors.

    A node says its state in words and links to its page in `pages` (to none if that is empty), else
    to the task run that made it. `names` maps an artifact id to its name in the run. The diagram
    leaves out edges that a longer path implies; the table has all. Neither contains text of a post.
    """
    headers = with_ancestors(store, artifact_ids)
    states = {h.ref.artifact_id: _state(h, artifact_ids, cached) for h in headers}
    nodes = {h.ref.artifact_id: f"a{n}" for n, h in enumerate(headers)}
    titles = {h.ref.artifact_id: _title(h, names or {}) for h in headers}
    links = {h.ref.artifact_id: _maker_page(h) for h in headers} | dict(pages or {})
    members: dict[str, list[str]] = {}
    lines = ["```mermaid", _THEME, "flowchart TB"]
    for header in headers:
        name = header.ref.artifact_id
        lines.append(f"    {nodes[name]}[{_label(header, titles[name], states[name])}]")
        members.setdefault(states[name], []).append(nodes[name])
        if links[name]:
            lines.append(f'    click {nodes[name]} href "{links[name]}"')
    lines += [f"    {nodes[parent]} --> {nodes[child]}" for parent, child in direct_edges(headers)]
    if failed is not None:
        lines.append(f"    f0[{_lines_label(failed.title, STATE_WORDS[FAILED])}]")
        lines += [f"    {nodes[parent]} --> f0" for parent in failed.parents if parent in nodes]
        members[FAILED] = ["f0"]
    for state, style in _STYLES.items():
        if state in members:
            lines += [f"    classDef {state} {style}"]
            lines += [f"    class {','.join(members[state])} {state}"]
    lines.append("```")
    return "\n".join([_INTRODUCTION, *lines, "", _table(headers, titles, states, links, run_id)])


def _state(header: ArtifactRecord, used: Collection[str], cached: Collection[str]) -> str:
    name = header.ref.artifact_id
    return EARLIER if name not in used else CACHED if name in cached else FRESH


def _title(header: ArtifactRecord, names: Mapping[str, str]) -> str:
    stage, kind = header.ref.stage, header.ref.kind
    name = names.get(header.ref.artifact_id, kind).replace("_", " ")
    return name if name.endswith(f" {stage.replace('_', ' ')}") else f"{stage}: {name}"


def _label(header: ArtifactRecord, title: str, state: str) -> str:
    if header.ref.kind in FOLDER_KINDS:
        return _lines_label(title, STATE_WORDS[state])
    partial = ", partial" if header.ref.partial else ""
    noun = "row" if header.ref.rows == 1 else "rows"
    return _lines_label(title, f"{header.ref.rows:,} {noun}{partial}", STATE_WORDS[state])


def _lines_label(*lines: str) -> str:
    return '"' + "<br/>".join(mermaid_label(line)[1:-1] for line in lines) + '"'


def _maker_page(header: ArtifactRecord) -> str:
    """The page of the task run that made an artifact, or of its flow run; empty without Prefect."""
    producer = header.producer
    if producer.task_run_id:
        return f"/v2/runs/task-run/{producer.task_run_id}"
    return _run_page(header) if producer.flow_run_id else ""


def _run_page(header: ArtifactRecord) -> str:
    return f"/v2/runs/flow-run/{header.producer.flow_run_id}"


def _table(
    headers: list[ArtifactRecord],
    titles: Mapping[str, str],
    states: Mapping[str, str],
    links: Mapping[str, str],
    run_id: str,
) -> str:
    rows = []
    for header in headers:
        name = header.ref.artifact_id
        title = escape(titles[name])
        made_by = header.producer.flow_run_id
        text = "this run" if made_by == run_id else f"{header.created_at:%Y-%m-%d %H:%M}"
        rows.append(
            (
                f"[{title}]({links[name]})" if links[name] else title,
                f"{header.ref.rows:,}",
                STATE_WORDS[states[name]],
                ", ".join(escape(titles.get(p, p)) for p in sorted(set(header.parents.values()))),
                f"[{text}]({_run_page(header)})" if links[name] and made_by else text,
                f"`{short_hash(name)}`",
            )
        )
    return markdown_table(_COLUMNS, rows)
