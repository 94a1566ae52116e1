"""Where artifacts came from, as text and as a mermaid drawing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convrec.artifacts.store import Header, Store


def ancestors(store: Store, artifact_id: str) -> list[Header]:
    """The artifact and everything that it was made from, the artifact first."""
    found: dict[str, Header] = {}
    waiting = [artifact_id]
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = store.header(name)
            waiting += found[name].parents.values()
    return list(found.values())


def mermaid(store: Store, artifact_ids: Iterable[str], cached: Collection[str] = ()) -> str:
    """A markdown text: a mermaid graph of these artifacts, a click opens the producing run.

    Cached artifacts are dashed. An edge that a longer path implies is left out of the drawing, so
    that it can be read; all of them stand in the table below it. Ids and figures are ours alone: no
    text of a post is in it.
    """
    headers = [store.header(artifact_id) for artifact_id in artifact_ids]
    number = {h.ref.artifact_id: f"a{n}" for n, h in enumerate(headers)}
    lines = ["```mermaid", "flowchart TB"]
    for header in headers:
        ref, node = header.ref, number[header.ref.artifact_id]
        name = f"{ref.stage}: {ref.kind}" if ref.kind != ref.stage else ref.kind
        lines.append(f'    {node}["{name}<br/>{ref.rows:,} rows"]')
        if header.producer.flow_run_id:
            lines.append(f'    click {node} href "{_page(header)}"')
    for parent, child in _drawn_edges(headers):
        lines.append(f"    {number[parent]} --> {number[child]}")
    dashed = [number[name] for name in number if name in cached]
    if dashed:
        lines.append("    classDef cached stroke-dasharray: 4 3")
        lines.append(f"    class {','.join(dashed)} cached")
    lines.append("```")
    return "\n".join([_HEAD, *lines, "", *_table(headers, cached)])


_HEAD = (
    "## Lineage\nDashed: cached, made by an earlier run. "
    "A click on a node opens the run that made it.\n"
)


def _page(header: Header) -> str:
    return f"/v2/runs/flow-run/{header.producer.flow_run_id}"


def _drawn_edges(headers: list[Header]) -> list[tuple[str, str]]:
    """(parent, child) without those that a longer path implies; parents come before children."""
    known = {h.ref.artifact_id: set(h.parents.values()) for h in headers}
    above: dict[str, set[str]] = {}  # everything that an artifact was made from
    edges = []
    for child, parents in known.items():
        inside = [parent for parent in parents if parent in known]
        above[child] = set(inside).union(*(above.get(parent, ()) for parent in inside))
        for parent in sorted(inside):
            if not any(parent in above.get(other, ()) for other in inside):
                edges.append((parent, child))
    return edges


def _table(headers: list[Header], cached: Collection[str]) -> list[str]:
    rows = ["| artifact | rows | state | made from | run |", "|---|---|---|---|---|"]
    for header in headers:
        name = header.ref.artifact_id
        run = header.producer.flow_run_id
        link = f"[{run[:8]}]({_page(header)})" if run else ""
        parents = ", ".join(sorted(header.parents.values()))
        state = "cached" if name in cached else "made"
        rows.append(f"| {name} | {header.ref.rows:,} | {state} | {parents} | {link} |")
    return rows
