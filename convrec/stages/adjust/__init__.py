"""adjust: per-item weight and bias take out the teacher's popularity bias, then the lists are cut.

s_final = w ⊙ s_reflect + b (ConvRec-R1, the Adjust step; the bias term of Reindex-Then-Adapt,
arXiv 2405.12119, is the precedent). Seen items go, the top N become the SFT completion.
"""

from convrec.stages.adjust.demonstrations import DEMONSTRATIONS
from convrec.stages.adjust.fit import ADJUSTMENT

__all__ = ["ADJUSTMENT", "DEMONSTRATIONS"]
