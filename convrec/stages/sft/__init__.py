"""Stage `sft`: the student learns to answer like the demonstrations (behavior cloning)."""

from convrec.stages.sft.step import SFT

__all__ = ["SFT"]
