"""Lists from a checkpoint: sampled freely for evaluation and RL, constrained for serving.

Importing this package imports no torch; using one of its names does.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "recommend_constrained": "convrec.decoding.constrained",
    "sample_batch": "convrec.decoding.sampling",
    "sample_lists": "convrec.decoding.sampling",
}

__all__ = ["recommend_constrained", "sample_batch", "sample_lists"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
