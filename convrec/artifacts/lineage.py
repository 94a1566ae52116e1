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
    """A markdown text with a mermaid graph of these artifacts; a click opens the producing run.

    Cached artifacts are drawn dashed. Ids and figures are ours alone: no text of a post is in it.
    """
    headers = [store.header(artifact_id) for artifact_id in artifact_ids]
    number = {h.ref.artifact_id: f"a{n}" for n, h in enumerate(headers)}
    lines = ["```mermaid", "flowchart LR"]
    for header in headers:
        ref, node = header.ref, number[header.ref.artifact_id]
        lines.append(f'    {node}["{ref.stage}: {ref.artifact_id}<br/>{ref.rows:,} rows"]')
        if header.producer.flow_run_id:
            lines.append(f'    click {node} href "/v2/runs/flow-run/{header.producer.flow_run_id}"')
    for header in headers:
        for parent in dict.fromkeys(header.parents.values()):
            if parent in number:
                lines.append(f"    {number[parent]} --> {number[header.ref.artifact_id]}")
    dashed = [number[name] for name in number if name in cached]
    if dashed:
        lines.append("    classDef cached stroke-dasharray: 4 3")
        lines.append(f"    class {','.join(dashed)} cached")
    lines.append("```")
    made = "Dashed: cached, made by an earlier run. A click on a node opens the run that made it."
    return "\n".join(["## Lineage", made, "", *lines])
