"""Content-addressed artifacts: rows in DuckDB under the hash of everything that produced them."""

from convrec.artifacts.identity import ArtifactRef, ArtifactSpec, digest, file_digest
from convrec.artifacts.record import ArtifactRecord, Producer
from convrec.artifacts.step_result import StepResult
from convrec.artifacts.store import Store

__all__ = [
    "ArtifactRecord",
    "ArtifactRef",
    "ArtifactSpec",
    "Producer",
    "StepResult",
    "Store",
    "digest",
    "file_digest",
]
