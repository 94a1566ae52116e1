"""Lists from a checkpoint: free, ended at N lines, without repeats, or from a catalog only.

Importing this package imports no torch; using one of its names does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.lazy import exports

if TYPE_CHECKING:
    from convrec.decoding.constrained import recommend_constrained
    from convrec.decoding.sampling import sample_lists

__all__ = [
    "recommend_constrained",
    "sample_lists",
]

__getattr__ = exports(
    __name__,
    {
        "recommend_constrained": "constrained",
        "sample_lists": "sampling",
    },
)
