"""Adjust: s_final = w ⊙ s_reflect + b (ConvRec-R1, arXiv 2510.20150, the Adjust step).

Per-item weights w and biases b, learned from training ground truth, take out the teacher's
popularity bias. Items seen in the conversation are removed; the best N items become the SFT
completion. The bias term follows Reindex-Then-Adapt (arXiv 2405.12119).

ADJUSTMENT learns w and b; DEMONSTRATIONS writes the lists.
"""

from convrec.stages.adjust.adjustment import ADJUSTMENT
from convrec.stages.adjust.demonstrations import DEMONSTRATIONS

__all__ = ["ADJUSTMENT", "DEMONSTRATIONS"]
