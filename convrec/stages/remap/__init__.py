"""Remap: s_remap = p·(S + I) + λ·s_conv (ConvRec-R1, arXiv 2510.20150, the Remap step).

The teacher's free-text lists become scores over the catalog. p weighs each listed title by
1/√rank; I maps a title that the catalog has to its item; S spreads a title to similar items; s_conv
is the similarity of the conversation to each item.

DESCRIPTIONS says what items are about, in the words of an LLM or of facts; SIMILARITY_BASIS pins
what S and s_conv are measured with; CANDIDATES scores and keeps the best.
"""

from convrec.stages.remap.basis import SIMILARITY_BASIS, pin_name
from convrec.stages.remap.candidates import CANDIDATES
from convrec.stages.remap.cost_estimate import estimate_embedding_cost
from convrec.stages.remap.descriptions import DESCRIPTIONS, is_described
from convrec.stages.remap.embedding import uses_embeddings

__all__ = [
    "CANDIDATES",
    "DESCRIPTIONS",
    "SIMILARITY_BASIS",
    "estimate_embedding_cost",
    "is_described",
    "pin_name",
    "uses_embeddings",
]
