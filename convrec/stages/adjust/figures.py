"""Figures of what Adjust does: popularity and ranking of the lists before and after it.

"before" are the top N by s_reflect, "after" the top N by s_final, both without seen items.
Popularity: Gini coefficient, catalog coverage and share of the head, the HEAD_SIZE items most
frequent in training ground truth. Ranking: Recall and NDCG of the `standard` protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from convrec.metrics.coverage import coverage
from convrec.metrics.gini import gini
from convrec.metrics.head_share import HEAD_SIZE, head_items, head_share
from convrec.metrics.ndcg import ndcg
from convrec.metrics.recall import recall
from convrec.stages.adjust.ground_truth import GroundTruth
from convrec.stages.adjust.top_n import NO_ITEM, item_counts

CUTOFF = 20
TopLists = Mapping[str, np.ndarray]
"""Lists as from `convrec.stages.adjust.top_n.top_items`, by "before" and "after"."""


def popularity_figures(lists: TopLists, mentions: np.ndarray, split: str) -> dict[str, float]:
    """Gini, coverage and head share of a split's lists; `mentions` as in `head_items`."""
    head = head_items(mentions)
    metrics: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
        "popularity Gini": gini,
        "catalog coverage": coverage,
        f"top-{HEAD_SIZE} share": lambda counts: head_share(counts, head),
    }
    return {
        f"{split} {name} {when}": round(float(metric(item_counts(top, len(mentions)))), 4)
        for name, metric in metrics.items()
        for when, top in lists.items()
        if len(top)
    }


def ranking_figures(lists: TopLists, truth: GroundTruth) -> dict[str, float]:
    """Recall@20 and NDCG@20 over the samples of a split; empty without a sample."""
    if truth.samples.is_empty():
        return {}
    values = {when: mean_recall_ndcg(top, truth) for when, top in lists.items()}
    return {
        f"{truth.split} {name} {when}": round(both[position], 4)
        for position, name in enumerate((f"Recall@{CUTOFF}", f"NDCG@{CUTOFF}"))
        for when, both in values.items()
    }


def mean_recall_ndcg(top: np.ndarray, truth: GroundTruth) -> tuple[float, float]:
    """Compute mean Recall@20 and NDCG@20 over at least one sample.

    A `context` of `truth` is a row of `top`, (contexts, N), which is as from `top_items`.
    """
    listed = top[truth.samples["context"].to_numpy(), :CUTOFF].astype(np.int64)
    sample, item_sample, item = (
        column.to_numpy().astype(np.int64)
        for column in (truth.samples["sample"], truth.items["sample"], truth.items["item"])
    )
    hits = np.isin((sample[:, None] << 32) + listed, (item_sample << 32) + item)
    relevance = (hits & (listed != NO_ITEM)).astype(np.float64)
    sizes = truth.samples["size"].to_numpy().astype(np.int64)
    recalls, ndcgs = (metric(relevance, sizes, CUTOFF) for metric in (recall, ndcg))
    return float(recalls.mean()), float(ndcgs.mean())
