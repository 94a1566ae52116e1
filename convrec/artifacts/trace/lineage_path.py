"""Which artifacts belong together: the line from one `conversations` artifact to its checkpoints.

A warehouse holds many candidates, demonstrations and checkpoints. A trace must not mix them, so it
goes along the artifacts of one run, or those behind one artifact.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convrec.artifacts.identity import short_hash
from convrec.artifacts.lineage import descendants, with_ancestors
from convrec.artifacts.runs import RunRecord, find_run, list_runs
from convrec.errors import InputError

if TYPE_CHECKING:
    from convrec.artifacts import ArtifactRecord, Store


@dataclass(frozen=True)
class LineagePath:
    """Artifacts by role, all of them of one line, and the run whose artifacts they are, if any.

    A role is a kind; a checkpoint's has the stage behind it (`checkpoint_sft`), and generations'
    the stage of the checkpoint that wrote them (`generations_rank_grpo`), or `base` where none did.
    A second one of the same stage has the first signs of its id behind that.
    """

    headers: dict[str, ArtifactRecord]
    run: RunRecord | None = None

    def artifact_id(self, role: str) -> str | None:
        """The artifact of a role; None where the line has none."""
        return self.headers[role].ref.artifact_id if role in self.headers else None


def find_lineage_path(store: Store, name: str, *, run: str = "", of: str = "") -> LineagePath:
    """The line of the conversation `name` (a context_id or sample_id) in the newest run with it.

    `run`, the id of a run or its start, or `of`, an artifact, picks another line. Raises InputError
    where there is no such conversation, run or artifact, or where it is not in that line.
    """
    homes = _homes(store, name)
    if not homes:
        raise InputError(
            f"no conversation {name!r} in the warehouse: give a context_id or sample_id of a "
            "`conversations` artifact, as `convrec artifacts show ID` prints them"
        )
    if of:
        return lineage_path_through(store, name, [store.header(of).ref.artifact_id])
    if run:
        record = find_run(store, run)
        return lineage_path_through(store, name, _stored(store, record), record)
    for record in list_runs(store):
        if {used.artifact_id for used in record.artifacts} & set(homes):
            return lineage_path_through(store, name, _stored(store, record), record)
    last = descendants(store, homes[0])[-1]
    return lineage_path_through(store, name, [last.ref.artifact_id])


def lineage_path_through(
    store: Store, name: str, artifact_ids: Collection[str], run: RunRecord | None = None
) -> LineagePath:
    """The line of a conversation among some artifacts and all that they were made from.

    Raises InputError where the conversation is in none of them.
    """
    members = with_ancestors(store, artifact_ids)
    having = set(_homes(store, name))
    homes = [header for header in members if header.ref.artifact_id in having]
    if not homes:
        raise InputError(
            f"conversation {name!r} is not in the line of {', '.join(list(artifact_ids)[:3])}; "
            "without --run and --of the newest run that has it is taken"
        )
    headers = {"conversations": homes[0]}
    grown = {homes[0].ref.artifact_id}
    parents: list[str] = []
    for header in members:
        if grown & set(header.parents.values()):
            grown.add(header.ref.artifact_id)
            role = _role(store, header)
            if role in headers and header.ref.kind in ("checkpoint", "generations"):
                role = f"{role}-{short_hash(header.ref.artifact_id)}"
            headers.setdefault(role, header)
            parents += [parent for role, parent in header.parents.items() if role == "catalog"]
    for catalog in parents[:1]:
        headers["catalog"] = store.header(catalog)
    return LineagePath(headers, run)


def _homes(store: Store, name: str) -> list[str]:
    """The `conversations` artifacts that have the conversation, the newest first."""
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT DISTINCT artifact_id, created_at FROM conversations "
            "JOIN artifacts USING (artifact_id) WHERE context_id = $1 OR sample_id = $1 "
            "ORDER BY created_at DESC",
            [name],
        ).fetchall()
    return [artifact_id for artifact_id, _ in rows]


def _stored(store: Store, run: RunRecord) -> list[str]:
    """The artifacts of a run that are still there."""
    stored = {header.ref.artifact_id for header in store.headers()}
    return [used.artifact_id for used in run.artifacts if used.artifact_id in stored]


def _role(store: Store, header: ArtifactRecord) -> str:
    kind = header.ref.kind
    if kind == "generations":
        checkpoint = header.parents.get("checkpoint")
        return f"{kind}_{store.header(checkpoint).ref.stage if checkpoint else 'base'}"
    return f"{kind}_{header.ref.stage}" if kind == "checkpoint" else kind
