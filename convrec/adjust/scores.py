"""Candidate scores as adjust sees them: judged where a judge rated, remapped elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts import Job


def candidate_scores(job: Job) -> pl.DataFrame:
    """Columns context_id, item_id, score: s_reflect, or s_remap where there is no rating."""
    import polars as pl

    candidates = job.frame("candidates").select("context_id", "item_id", "score")
    if "judgments" not in job.parents and "judgments" not in job.frames:
        return candidates
    judged = job.frame("judgments").select("context_id", "item_id", pl.col("score").alias("moved"))
    return candidates.join(
        judged, on=["context_id", "item_id"], how="left", maintain_order="left"
    ).select("context_id", "item_id", pl.coalesce("moved", "score").alias("score"))
