"""Finding the artifact that is up to date without making its requests again.

The id of an artifact that reads LLM responses depends on every request and response. To make and
look up the requests of a data set as large as Reddit-v2 takes a minute, in every run, plan and
training. A run therefore records the fingerprint (configuration, parents, state of the tables that
the step reads) under which an artifact was found complete.
"""

from __future__ import annotations

from typing import NamedTuple

from convrec.artifacts.identity import ArtifactRef, digest
from convrec.artifacts.retry import with_retries
from convrec.artifacts.store import Store
from convrec.stages.base import Step, StepContext


class CachedArtifact(NamedTuple):
    """A complete artifact, and the number of requests that it is made from."""

    ref: ArtifactRef
    requests: int


def fingerprint(step: Step, ctx: StepContext) -> str:
    """The fingerprint under which the up-to-date artifact is cached; empty where there is none.

    It covers the whole configuration except `ingest`, which the parents stand for. A setting that
    changes nothing costs one lookup of the requests.
    """
    state = step.responses.state(ctx) if step.responses else ""
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


def find_cached(store: Store, fingerprint: str) -> CachedArtifact | None:
    """The complete artifact recorded under a fingerprint, if it is still stored."""
    if not fingerprint:
        return None
    with store.read_connection() as connection:
        row = connection.execute(
            "SELECT artifact_id, requests FROM current_artifacts WHERE mark = ?", [fingerprint]
        ).fetchone()
    ref = store.find(row[0]) if row else None
    return CachedArtifact(ref, row[1]) if row and ref is not None and not ref.partial else None


@with_retries
def record_cached(store: Store, fingerprint: str, artifact_id: str, requests: int) -> None:
    """Record a complete artifact under a fingerprint, in place of its earlier fingerprints."""
    with store.transaction() as connection:
        connection.execute("DELETE FROM current_artifacts WHERE artifact_id = ?", [artifact_id])
        connection.execute(
            "INSERT INTO current_artifacts VALUES (?, ?, ?)", [fingerprint, artifact_id, requests]
        )
