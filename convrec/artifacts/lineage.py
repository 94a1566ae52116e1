"""Where artifacts came from and what was made of them, as headers and as a mermaid drawing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from convrec.artifacts.identity import short_hash
from convrec.errors import InputError
from convrec.utils.markdown import escape, mermaid_label

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts.record import ArtifactRecord
    from convrec.artifacts.store import Store

FRESH, CACHED, EARLIER = "fresh", "cached", "earlier"
"""Made by this run; found made; not of this run, but something of it was made from it."""


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
    grown = True
    while grown:
        made = {h.ref.artifact_id for h in headers if found & set(h.parents.values())}
        grown = not made <= found
        found |= made
    return [header for header in headers if header.ref.artifact_id in found]


def with_ancestors(store: Store, artifact_ids: Iterable[str]) -> list[ArtifactRecord]:
    """These artifacts and all that they were made from, parents before children."""
    known = {header.ref.artifact_id: header for header in store.headers()}
    found: dict[str, ArtifactRecord] = {}

    def visit(artifact_id: str) -> None:
        if artifact_id not in found:
            header = known.get(artifact_id) or store.header(artifact_id)
            for parent in header.parents.values():
                visit(parent)
            found[artifact_id] = header

    for artifact_id in artifact_ids:
        visit(artifact_id)
    return list(found.values())


def direct_edges(headers: Collection[ArtifactRecord]) -> list[tuple[str, str]]:
    """(parent, child) among these artifacts, without the edges that a longer path implies."""
    members = {header.ref.artifact_id: set(header.parents.values()) for header in headers}
    above: dict[str, set[str]] = {}  # everything among them that an artifact was made from

    def climb(child: str) -> set[str]:
        if child not in above:
            parents = members[child] & members.keys()
            above[child] = parents.union(*map(climb, parents))
        return above[child]

    return [
        (parent, child)
        for child, parents in members.items()
        for parent in sorted(parents & members.keys())
        if not any(parent in climb(other) for other in parents & members.keys())
    ]


def lineage_markdown(
    store: Store,
    artifact_ids: Collection[str],
    cached: Collection[str] = (),
    names: Mapping[str, str] | None = None,
) -> str:
    """A markdown text: a mermaid graph of these artifacts and of all that they were made from.

    A click on a node opens the run that made it. `names` says what an artifact is called in its
    run. Nodes are shaded by state: fresh, cached (a dashed line) or earlier (dotted). An edge that
    a longer path implies is left out of the drawing, so that it can be read; all of them stand in
    the table below it. No text of a post is in it.
    """
    headers = with_ancestors(store, artifact_ids)
    state = {h.ref.artifact_id: _state(h, artifact_ids, cached) for h in headers}
    number = {h.ref.artifact_id: f"a{n}" for n, h in enumerate(headers)}
    called = {h.ref.artifact_id: _called(h, names or {}) for h in headers}
    lines = ["```mermaid", "flowchart TB"]
    for header in headers:
        name = header.ref.artifact_id
        lines.append(f"    {number[name]}[{_label(header, called[name], state[name])}]")
        if header.producer.flow_run_id:
            lines.append(f'    click {number[name]} href "{_page(header)}"')
    lines += [
        f"    {number[parent]} --> {number[child]}" for parent, child in direct_edges(headers)
    ]
    for kind, style in _STYLES.items():
        if members := [number[name] for name in number if state[name] == kind]:
            lines += [f"    classDef {kind} {style}", f"    class {','.join(members)} {kind}"]
    lines.append("```")
    return "\n".join([_HEAD, *lines, "", *_table(headers, called, state)])


_HEAD = (
    "## Lineage\nA click on a node opens the run that made it. Dashed: cached, made by another "
    "run. Dotted: made earlier, and of this run only its descendants.\n"
)
_STYLES = {
    FRESH: "fill:#dcfce7,stroke:#15803d,color:#14532d",
    CACHED: "fill:#eff6ff,stroke:#1d4ed8,color:#1e3a8a,stroke-dasharray:5 3",
    EARLIER: "fill:#f4f4f5,stroke:#52525b,color:#27272a,stroke-dasharray:1 3",
}


def _state(header: ArtifactRecord, members: Collection[str], cached: Collection[str]) -> str:
    name = header.ref.artifact_id
    return EARLIER if name not in members else CACHED if name in cached else FRESH


def _called(header: ArtifactRecord, names: Mapping[str, str]) -> str:
    stage, kind = header.ref.stage, header.ref.kind
    name = names.get(header.ref.artifact_id, kind).replace("_", " ")
    return name if name.endswith(f" {stage.replace('_', ' ')}") else f"{stage}: {name}"


def _short(artifact_id: str) -> str:
    return f"{artifact_id.rpartition('-')[0]}-{short_hash(artifact_id)}"


def _label(header: ArtifactRecord, called: str, state: str) -> str:
    ref = header.ref
    partial = ", partial" if ref.partial else ""
    lines = (called, f"{ref.rows:,} rows{partial}", f"{state} · {short_hash(ref.artifact_id)}")
    return '"' + "<br/>".join(mermaid_label(line)[1:-1] for line in lines) + '"'


def _page(header: ArtifactRecord) -> str:
    return f"/v2/runs/flow-run/{header.producer.flow_run_id}"


def _table(
    headers: list[ArtifactRecord], called: Mapping[str, str], state: Mapping[str, str]
) -> list[str]:
    rows = ["| artifact | what | rows | state | made from | run |", "|---|---|---|---|---|---|"]
    for header in headers:
        name = header.ref.artifact_id
        run = header.producer.flow_run_id
        link = f"[{run[:8]}]({_page(header)})" if run else ""
        parents = ", ".join(sorted(map(_short, set(header.parents.values()))))
        cells = (name, escape(called[name]), f"{header.ref.rows:,}", state[name], parents, link)
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def checkpoint_catalog(store: Store, checkpoint: str) -> pl.DataFrame:
    """The catalog that a checkpoint was trained with. Raises InputError where it is gone."""
    from convrec.artifacts.lineage import ancestors

    for header in ancestors(store, checkpoint):
        if header.ref.kind == "catalog":
            return store.read(header.ref.artifact_id)
    raise InputError(f"{checkpoint} has no catalog in its lineage; give one with --catalog FILE")
