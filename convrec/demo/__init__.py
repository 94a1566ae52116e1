"""The embedded demo's teacher, judge and embedder: models that are simulated, not learned.

They answer as real ones do, faults included, from small worlds of works and tastes: films, and
books where the request speaks of those. What they say is a function of the request alone.
"""

from convrec.demo.completion import MODELS, complete
from convrec.demo.embedding import EMBEDDERS, embed

__all__ = ["EMBEDDERS", "MODELS", "complete", "embed"]
