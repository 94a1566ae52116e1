"""Content-addressed artifacts: rows in DuckDB, named by the hash of everything that made them."""

from convrec.artifacts.identity import ArtifactRef, ArtifactSpec, digest, file_digest
from convrec.artifacts.step_result import Built
from convrec.artifacts.store import Header, Producer, Store

__all__ = [
    "ArtifactRef",
    "ArtifactSpec",
    "Built",
    "Header",
    "Producer",
    "Store",
    "digest",
    "file_digest",
]
