"""Lists to judge, what a protocol makes of them, and every metric of the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convrec.metrics.hit_rate import hit
from convrec.metrics.hits_by_rank import hits_by_rank
from convrec.metrics.mrr import mrr
from convrec.metrics.ndcg import ndcg
from convrec.metrics.recall import recall
from convrec.metrics.relevance import Titled

Protocol = Literal["standard", "reference", "per-label"]

CUTOFFS = (5, 10, 15, 20)
WIDTH = max(CUTOFFS)
"""Positions that any metric looks at."""


class ListToScore(NamedTuple):
    """A completion as generated, and what it is held against; `ground_truth` is not empty."""

    completion: str
    seen: Sequence[Titled]
    ground_truth: Sequence[Titled]


@dataclass(frozen=True)
class ListBatch:
    """Judged lists.

    `relevance` (lists, WIDTH) is what Recall and NDCG read, `reward_relevance` (lists, WIDTH) what
    the rewards read; they differ under `reference` only, where the metrics drop lines first and
    the rewards do not. `lengths` cuts the ideal list (see `ndcg`), None under `standard`. `items`
    (lists, N) are the catalog items of the lines, negative without one; under `standard` only.
    Under `per-label` a row is a (list, ground-truth item) pair, and `owner` says of which list.
    """

    relevance: NDArray[np.float64]
    reward_relevance: NDArray[np.float64]
    truths: NDArray[np.int64]
    lengths: NDArray[np.int64] | None = None
    rates: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    items: NDArray[np.int64] | None = None
    owner: NDArray[np.int64] | None = None


def ranking_metrics(batch: ListBatch) -> dict[str, NDArray[np.float64]]:
    """`recall@5` ... `hit@20` by name, each with one value a list.

    The published code, whose reading `reference` is, has neither MRR nor hit rate.
    """
    values = {}
    for k in CUTOFFS:
        values[f"recall@{k}"] = recall(batch.relevance, batch.truths, k)
        values[f"ndcg@{k}"] = ndcg(batch.relevance, batch.truths, k, batch.lengths)
        if batch.lengths is None:
            values[f"mrr@{k}"] = mrr(batch.relevance, k)
            values[f"hit@{k}"] = hit(batch.relevance, k)
    return values


def all_metrics(batch: ListBatch) -> dict[str, NDArray[np.float64]]:
    """Ranking metrics, rates, and `hit_rate@rank1` ..., each with one value a list."""
    ranks = {f"hit_rate@rank{j}": hits_by_rank(batch.relevance, j) for j in range(1, WIDTH + 1)}
    return {**ranking_metrics(batch), **batch.rates, **ranks}
