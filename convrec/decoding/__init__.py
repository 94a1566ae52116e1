"""Lists from a checkpoint: free, ended at N lines, or from a catalog only.

Importing this package imports no torch; using one of its names does.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "CatalogLines": "convrec.decoding.lines",
    "DistinctLines": "convrec.decoding.distinct",
    "EndAtLines": "convrec.decoding.rules",
    "Free": "convrec.decoding.rules",
    "FromCatalog": "convrec.decoding.constrained",
    "Sampler": "convrec.decoding.samplers",
    "allowed_tokens": "convrec.decoding.masked",
    "constrained_logps": "convrec.decoding.masked",
    "recommend_constrained": "convrec.decoding.constrained",
    "sample_lists": "convrec.decoding.sampling",
    "sample_texts": "convrec.decoding.sampling",
    "sampler_for": "convrec.decoding.samplers",
    "write_lists": "convrec.decoding.writing",
}

__all__ = [
    "CatalogLines",
    "DistinctLines",
    "EndAtLines",
    "Free",
    "FromCatalog",
    "Sampler",
    "allowed_tokens",
    "constrained_logps",
    "recommend_constrained",
    "sample_lists",
    "sample_texts",
    "sampler_for",
    "write_lists",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
