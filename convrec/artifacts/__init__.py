"""Content-addressed artifacts: rows in DuckDB, named by the hash of everything that made them."""

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
