"""Lists from a checkpoint: free, ended at N lines, without repeats, or from a catalog only.

Importing this package imports no torch; using one of its names does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.lazy import exports

if TYPE_CHECKING:
    from convrec.decoding.constrained import FromCatalog, recommend_constrained
    from convrec.decoding.distinct import DistinctLines
    from convrec.decoding.lines import CatalogLines
    from convrec.decoding.masked import allowed_tokens, constrained_logps
    from convrec.decoding.rules import EndAtLines, Free
    from convrec.decoding.samplers import Sampler, sampler_for
    from convrec.decoding.sampling import sample_lists, sample_texts
    from convrec.decoding.writing import write_lists

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

__getattr__ = exports(
    __name__,
    {
        "CatalogLines": "lines",
        "DistinctLines": "distinct",
        "EndAtLines": "rules",
        "Free": "rules",
        "FromCatalog": "constrained",
        "Sampler": "samplers",
        "allowed_tokens": "masked",
        "constrained_logps": "masked",
        "recommend_constrained": "constrained",
        "sample_lists": "sampling",
        "sample_texts": "sampling",
        "sampler_for": "samplers",
        "write_lists": "writing",
    },
)
