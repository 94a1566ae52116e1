"""What artifacts were made from and what was made of them, as headers and as a mermaid diagram."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import polars as pl

from convrec.artifacts.identity import short_hash
from convrec.artifacts.record import ArtifactRecord
from convrec.artifacts.store import Store
from convrec.errors import InputError
from convrec.utils.markdown import escape, markdown_table, mermaid_label

FRESH, CACHED, EARLIER = "fresh", "cached", "earlier"
"""Built by this run; found in the cache; not used by this run, but an ancestor of what it used."""

_INTRODUCTION = (
    "## Lineage\nClick a node to open the run that made it. Dashed: cached, made by another run. "
    "Dotted: made earlier; this run used only what was made from it.\n"
)

_STYLES = {
    FRESH: "fill:#dcfce7,stroke:#15803d,color:#14532d",
    CACHED: "fill:#eff6ff,stroke:#1d4ed8,color:#1e3a8a,stroke-dasharray:5 3",
    EARLIER: "fill:#f4f4f5,stroke:#52525b,color:#27272a,stroke-dasharray:1 3",
}

_COLUMNS = ("artifact", "what", "rows", "state", "made from", "run")


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
) -> str:
    """Markdown with a mermaid diagram and a table of these artifacts and all their ancestors.

    A node links to the run that made it. `names` maps an artifact id to its name in the run. The
    line of a node shows its state: fresh, cached (dashed) or earlier (dotted). The diagram leaves
    out edges that a longer path implies; the table has all. Neither contains text of a post.
    """
    headers = with_ancestors(store, artifact_ids)
    states = {h.ref.artifact_id: _state(h, artifact_ids, cached) for h in headers}
    nodes = {h.ref.artifact_id: f"a{n}" for n, h in enumerate(headers)}
    titles = {h.ref.artifact_id: _title(h, names or {}) for h in headers}
    lines = ["```mermaid", "flowchart TB"]
    for header in headers:
        name = header.ref.artifact_id
        lines.append(f"    {nodes[name]}[{_label(header, titles[name], states[name])}]")
        if header.producer.flow_run_id:
            lines.append(f'    click {nodes[name]} href "{_run_page(header)}"')
    lines += [f"    {nodes[parent]} --> {nodes[child]}" for parent, child in direct_edges(headers)]
    for state, style in _STYLES.items():
        if members := [nodes[name] for name in nodes if states[name] == state]:
            lines += [f"    classDef {state} {style}", f"    class {','.join(members)} {state}"]
    lines.append("```")
    return "\n".join([_INTRODUCTION, *lines, "", _table(headers, titles, states)])


def _state(header: ArtifactRecord, used: Collection[str], cached: Collection[str]) -> str:
    name = header.ref.artifact_id
    return EARLIER if name not in used else CACHED if name in cached else FRESH


def _title(header: ArtifactRecord, names: Mapping[str, str]) -> str:
    stage, kind = header.ref.stage, header.ref.kind
    name = names.get(header.ref.artifact_id, kind).replace("_", " ")
    return name if name.endswith(f" {stage.replace('_', ' ')}") else f"{stage}: {name}"


def _label(header: ArtifactRecord, title: str, state: str) -> str:
    ref = header.ref
    partial = ", partial" if ref.partial else ""
    lines = (title, f"{ref.rows:,} rows{partial}", f"{state} · {short_hash(ref.artifact_id)}")
    return '"' + "<br/>".join(mermaid_label(line)[1:-1] for line in lines) + '"'


def _run_page(header: ArtifactRecord) -> str:
    return f"/v2/runs/flow-run/{header.producer.flow_run_id}"


def _short_id(artifact_id: str) -> str:
    return f"{artifact_id.rpartition('-')[0]}-{short_hash(artifact_id)}"


def _table(
    headers: list[ArtifactRecord], titles: Mapping[str, str], states: Mapping[str, str]
) -> str:
    rows = []
    for header in headers:
        name = header.ref.artifact_id
        run = header.producer.flow_run_id
        link = f"[{run[:8]}]({_run_page(header)})" if run else ""
        parents = ", ".join(sorted(map(_short_id, set(header.parents.values()))))
        rows.append(
            (name, escape(titles[name]), f"{header.ref.rows:,}", states[name], parents, link)
        )
    return markdown_table(_COLUMNS, rows)
