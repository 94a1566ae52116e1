"""The embedded demo's teacher, judge and embedder: simulated models, not trained ones.

They respond like real models, faults included, from small worlds of films and books, whichever a
request mentions. A response depends on the request alone.
"""

from convrec.demo.completion import MODELS, complete
from convrec.demo.embedding import EMBEDDERS, embed

__all__ = ["EMBEDDERS", "MODELS", "complete", "embed"]
