"""Named artifacts of the kind `quarantine`."""

from __future__ import annotations

import polars as pl

from convrec.artifacts import ArtifactSpec, StepResult


def spec(name: str) -> ArtifactSpec:
    return ArtifactSpec("quarantine", "ingest", 1, {"name": name})


def rows(name: str, count: int = 40) -> StepResult:
    """Rows whose source is `name`."""
    frame = pl.DataFrame(
        {
            "source": [name] * count,
            "line": list(range(count)),
            "reason": ["r"] * count,
            "raw": ["x"] * count,
        }
    )
    return StepResult(frame)
