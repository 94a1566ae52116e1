"""Which artifacts belong together: the path from one `conversations` artifact to its checkpoints.

A warehouse holds many candidates, demonstrations and checkpoints. A trace must not mix them, so it
follows the artifacts of one run, or the ancestors of one artifact.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from convrec.artifacts.identity import short_hash
from convrec.artifacts.lineage import descendants, with_ancestors
from convrec.artifacts.record import ArtifactRecord
from convrec.artifacts.runs import RunRecord, find_run, list_runs
from convrec.artifacts.store import Store
from convrec.errors import InputError


@dataclass(frozen=True)
class LineagePath:
    """Artifacts of one path by role, and the run that used them, if there is one.

    A role is a kind. A checkpoint's role includes its stage (`checkpoint_sft`), and the role of
    generations their system (`generations_rank_grpo`). A second artifact of the same role has the
    start of its hash as well.
    """

    headers: dict[str, ArtifactRecord]
    run: RunRecord | None = None

    def artifact_id(self, role: str) -> str | None:
        """The artifact of a role; None if the path has none."""
        return self.headers[role].ref.artifact_id if role in self.headers else None


def find_lineage_path(store: Store, name: str, *, run: str = "", of: str = "") -> LineagePath:
    """The path of a conversation, a context_id or sample_id, in the newest run that has it.

    `run`, a run id or its start, or `of`, an artifact id or its start, selects another path. Raises
    InputError if there is no such conversation, run or artifact, or if the path has no such
    conversation.
    """
    containing = _containing(store, name)
    if not containing:
        raise InputError(
            f"no conversation {name!r} in the warehouse: give a context_id or sample_id of a "
            "`conversations` artifact, as `convrec artifacts show ID` prints them"
        )
    if of:
        return lineage_path_through(store, name, [store.full_id(of)])
    if run:
        record = find_run(store, run)
        return lineage_path_through(store, name, _stored_artifacts(store, record), record)
    for record in list_runs(store):
        if {used.artifact_id for used in record.artifacts} & set(containing):
            return lineage_path_through(store, name, _stored_artifacts(store, record), record)
    newest = descendants(store, containing[0])[-1]
    return lineage_path_through(store, name, [newest.ref.artifact_id])


def lineage_path_through(
    store: Store, name: str, artifact_ids: Collection[str], run: RunRecord | None = None
) -> LineagePath:
    """The path of a conversation among some artifacts and their ancestors.

    Raises InputError if none of them contains the conversation.
    """
    members = with_ancestors(store, artifact_ids)
    containing = set(_containing(store, name))
    first = next((h for h in members if h.ref.artifact_id in containing), None)
    if first is None:
        raise InputError(
            f"conversation {name!r} is not among the ancestors of "
            f"{', '.join(list(artifact_ids)[:3])}; omit --run and --of to use the newest run that "
            "has it"
        )
    headers = {"conversations": first}
    on_path = {first.ref.artifact_id}
    catalogs: list[str] = []
    for header in members:
        if on_path & set(header.parents.values()):
            on_path.add(header.ref.artifact_id)
            role = _role(store, header)
            if role in headers and header.ref.kind in ("checkpoint", "generations"):
                role = f"{role}-{short_hash(header.ref.artifact_id)}"
            headers.setdefault(role, header)
            catalogs += [parent for role, parent in header.parents.items() if role == "catalog"]
    if catalogs:
        headers["catalog"] = store.header(catalogs[0])
    return LineagePath(headers, run)


def _containing(store: Store, name: str) -> list[str]:
    """The `conversations` artifacts that contain a conversation, newest first."""
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT DISTINCT artifact_id, created_at FROM conversations "
            "JOIN artifacts USING (artifact_id) WHERE context_id = $1 OR sample_id = $1 "
            "ORDER BY created_at DESC",
            [name],
        ).fetchall()
    return [artifact_id for artifact_id, _ in rows]


def _stored_artifacts(store: Store, run: RunRecord) -> list[str]:
    """The artifacts of a run that still exist."""
    stored = {header.ref.artifact_id for header in store.headers()}
    return [used.artifact_id for used in run.artifacts if used.artifact_id in stored]


def _role(store: Store, header: ArtifactRecord) -> str:
    kind = header.ref.kind
    if kind == "generations":
        with store.read_connection() as connection:
            row = connection.execute(
                "SELECT system FROM generations WHERE artifact_id = ? LIMIT 1",
                [header.ref.artifact_id],
            ).fetchone()
        return f"{kind}_{row[0]}" if row else kind
    return f"{kind}_{header.ref.stage}" if kind == "checkpoint" else kind
