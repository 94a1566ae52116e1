"""How unevenly a set of lists spreads its recommendations over the catalog.

All three read `counts`, how often each catalog item stands in the lists, items that nobody is
recommended included with 0. They need no ground truth, so they can be read on any split.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HEAD = 50
"""Items in the head."""


def gini(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Gini coefficient of recommendation counts, over the last axis.

    G = Σ_i (2i − n − 1)·x_(i) / (n·Σ x), with x_(1) ≤ … ≤ x_(n) over all n items of the catalog:
    0 where every item is recommended equally often, (n − 1)/n where one item takes everything, 0
    also where nothing is recommended. As in Fleder and Hosanagar, "Blockbuster Culture's Next Rise
    or Fall" (Management Science, 2009).
    """
    ordered = np.sort(np.asarray(counts, dtype=np.float64), axis=-1)
    n = ordered.shape[-1]
    total = n * ordered.sum(axis=-1)
    weighed = ordered @ (2.0 * np.arange(1, n + 1) - n - 1)
    return np.asarray(np.divide(weighed, total, out=np.zeros_like(total), where=total > 0))


def coverage(counts: NDArray[np.float64]) -> float:
    """Catalog coverage: the share of the catalog's items that are recommended at least once."""
    return float(np.mean(counts > 0)) if len(counts) else 0.0


def head_items(mentions: NDArray[np.float64], size: int = HEAD) -> NDArray[np.int64]:
    """The head: the `size` items most often in training ground truth, by catalog row.

    `mentions` is how often each item is a ground truth. Items that never are do not belong to it,
    so the head of a small training set may be smaller; ties go to the earlier catalog row.
    """
    order = np.argsort(-np.asarray(mentions), kind="stable")[:size]
    return np.asarray(order[np.asarray(mentions)[order] > 0], dtype=np.int64)


def head_share(counts: NDArray[np.float64], head: NDArray[np.int64]) -> float:
    """The share of all recommendations that goes to the items in `head`; 0 where there are none."""
    total = counts.sum()
    return float(counts[head].sum() / total) if total else 0.0
