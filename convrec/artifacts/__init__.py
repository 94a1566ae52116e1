"""Content-addressed artifacts: rows in DuckDB, named by the hash of everything that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.lazy import exports

if TYPE_CHECKING:
    from convrec.artifacts.identity import ArtifactRef, ArtifactSpec, digest, file_digest
    from convrec.artifacts.step import Built, Job, Step
    from convrec.artifacts.store import Header, Producer, Store

__all__ = [
    "ArtifactRef",
    "ArtifactSpec",
    "Built",
    "Header",
    "Job",
    "Producer",
    "Step",
    "Store",
    "digest",
    "file_digest",
]

__getattr__ = exports(
    __name__,
    {
        "ArtifactRef": "identity",
        "ArtifactSpec": "identity",
        "Built": "step",
        "Header": "store",
        "Job": "step",
        "Producer": "store",
        "Step": "step",
        "Store": "store",
        "digest": "identity",
        "file_digest": "identity",
    },
)
