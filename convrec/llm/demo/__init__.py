"""The embedded demo's teacher and judge: chat models that are simulated, not learned.

They answer as real ones do, faults included, from a small world of films and tastes. What they
say is a function of the request alone.
"""

from convrec.llm.demo.completion import MODELS, complete

__all__ = ["MODELS", "complete"]
