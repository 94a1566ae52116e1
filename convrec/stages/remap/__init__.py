"""remap: the teacher's free-text lists become scores over the catalog.

s_remap = p·(S + I) + λ·s_conv (ConvRec-R1, the Remap step): p gives each teacher item 1/√rank, I
carries an item that is in the catalog to itself, S spreads it to similar catalog items, and s_conv
is the similarity of the conversation to each catalog item.
"""

from convrec.stages.remap.basis import SIMILARITY_BASIS, pin_name
from convrec.stages.remap.candidates import CANDIDATES
from convrec.stages.remap.cost_estimate import estimate_embedding_cost
from convrec.stages.remap.embedding import embeds

__all__ = ["CANDIDATES", "SIMILARITY_BASIS", "embeds", "estimate_embedding_cost", "pin_name"]
