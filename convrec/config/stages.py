"""The names of the eight stages, in order."""

from __future__ import annotations

from typing import Literal, get_args

StageName = Literal[
    "ingest", "recommend", "remap", "reflect", "adjust", "sft", "rank_grpo", "evaluate"
]


STAGES: tuple[StageName, ...] = get_args(StageName)


DATA_STAGES = STAGES[: STAGES.index("sft")]
"""The stages that build SFT data, up to demonstrations."""
