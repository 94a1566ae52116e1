"""The eight stages, in order; the same word everywhere."""

from __future__ import annotations

from typing import Literal, get_args

StageName = Literal[
    "ingest", "recommend", "remap", "reflect", "adjust", "sft", "rank_grpo", "evaluate"
]
STAGES: tuple[StageName, ...] = get_args(StageName)
DATA_STAGES = STAGES[: STAGES.index("sft")]
"""Those that end in demonstrations; the others train and measure."""
