"""adjust: per-item weight and bias take out the teacher's popularity bias, then the lists are cut.

s_final = w ⊙ s_reflect + b (ConvRec-R1, the Adjust step; the bias term of Reindex-Then-Adapt,
arXiv 2405.12119, is the precedent). Seen items go, the top N become the SFT completion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.lazy import exports

if TYPE_CHECKING:
    from convrec.adjust.demonstrations import DEMONSTRATIONS
    from convrec.adjust.fit import ADJUSTMENT

__all__ = ["ADJUSTMENT", "DEMONSTRATIONS"]

__getattr__ = exports(__name__, {"ADJUSTMENT": "fit", "DEMONSTRATIONS": "demonstrations"})
