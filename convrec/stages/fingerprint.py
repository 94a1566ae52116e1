"""Which artifact is current, without making its requests anew.

The id of an artifact that is made from stored answers hangs on every request and its answer. To
make and look them all up takes a minute for as many contexts as Reddit-v2 has, in every run, plan
and training. So a run notes under which mark (configuration, parents, and the state of the tables
that the step reads) an artifact was found complete. Nothing but the same mark finds it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from convrec.artifacts.identity import digest
from convrec.artifacts.retry import again

if TYPE_CHECKING:
    from convrec.artifacts.identity import ArtifactRef
    from convrec.artifacts.store import Store
    from convrec.stages.base import Step, StepContext


class CachedArtifact(NamedTuple):
    """A complete artifact, and how many requests it is made from."""

    ref: ArtifactRef
    requests: int


def fingerprint(step: Step, ctx: StepContext) -> str:
    """The digest of all that the artifact could hang on; empty where that is not known so easily.

    It holds the whole configuration but where the data lie, which the parents are made from: a
    setting that changes nothing costs one look at the requests.
    """
    state = step.state(ctx) if step.state is not None else ""
    if not state:
        return ""
    return digest(
        {
            "step": [step.kind, step.version],
            "config": ctx.config.model_dump(mode="json", exclude={"ingest"}),
            "parents": {role: ref.artifact_id for role, ref in ctx.parents.items()},
            "state": state,
        }
    )


def find_cached(store: Store, marked: str) -> CachedArtifact | None:
    """The complete artifact that was noted under a mark, if it is still there."""
    if not marked:
        return None
    with store.read_connection() as connection:
        found = connection.execute(
            "SELECT artifact_id, requests FROM current_artifacts WHERE mark = ?", [marked]
        ).fetchone()
    ref = store.find(found[0]) if found else None
    return CachedArtifact(ref, found[1]) if found and ref is not None and not ref.partial else None


@again
def record_cached(store: Store, marked: str, artifact_id: str, requests: int) -> None:
    """Note that a complete artifact is the one of this mark, in place of its earlier marks."""
    with store.write() as connection:
        connection.execute("DELETE FROM current_artifacts WHERE artifact_id = ?", [artifact_id])
        connection.execute(
            "INSERT INTO current_artifacts VALUES (?, ?, ?)", [marked, artifact_id, requests]
        )
