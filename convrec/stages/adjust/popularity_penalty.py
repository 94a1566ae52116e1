"""The popularity penalty: the part of b that lowers items which the teacher lists often.

The bias of item j gets −κ·log((q_j + q̄) / 2q̄), with q_j the number of training lists by s_reflect
that contain j and q̄ its mean over the catalog. This is logit adjustment (Menon et al., arXiv
2007.07314) by the frequency with which the teacher recommends; the paper has no such term. An item
of average frequency is unchanged, and an unlisted one gains at most κ·log 2, so the long tail of a
large catalog is not lifted into the lists.

κ is `adjust.balance`. Unless set, it is chosen from STRENGTHS on validation (on train without
validation samples): of the strengths at which the popularity Gini falls beyond noise, the one with
the highest NDCG@20, the smaller on a tie. Where the Gini falls for none, κ = 0. "Beyond noise": the
97.5% quantile of the change is below 0 when contexts are resampled in pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from convrec.metrics.gini import gini
from convrec.stages.adjust.figures import mean_recall_ndcg
from convrec.stages.adjust.ordered_candidates import SplitData
from convrec.stages.adjust.top_n import NO_ITEM, final_scores, top_items

if TYPE_CHECKING:
    from scipy.sparse import csr_array

STRENGTHS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
RESAMPLES = 200
QUANTILE = 0.975


class PenaltyChoice(NamedTuple):
    """κ, the lists without and with w, b and the penalty, and whether the Gini surely falls."""

    balance: float
    before: np.ndarray
    after: np.ndarray
    lowers_gini: bool


def log_listing_ratio(listed: np.ndarray) -> np.ndarray:
    """Compute log((q_j + q̄) / 2q̄), (items,), the penalty at κ = 1.

    `listed` is q, (items,), how often each catalog item is listed; at least one is above 0.
    """
    mean = listed.mean()
    return np.asarray(np.log((listed + mean) / (2.0 * mean)))


def choose_penalty(
    split: SplitData,
    n: int,
    weight: np.ndarray,
    bias: np.ndarray,
    listing_ratio: np.ndarray,
    balance: float | None,
) -> PenaltyChoice:
    """Choose κ for lists of length `n` on a split; `balance` is the only κ to try, None: STRENGTHS.

    `weight` is w, `bias` is b without the penalty, `listing_ratio` is from `log_listing_ratio`; all
    are (items,).
    """
    candidates = split.candidates.read_all()
    before = top_items(candidates, n)
    choices: list[PenaltyChoice] = []
    for strength in STRENGTHS if balance is None else (balance,):
        scores = final_scores(candidates, weight, bias - strength * listing_ratio)
        after = top_items(candidates, n, scores)
        lowers_gini = gini_change_bound(before, after, len(weight)) < 0
        choices.append(PenaltyChoice(strength, before, after, lowers_gini))
    eligible = [choice for choice in choices if choice.lowers_gini] or choices[:1]
    return max(eligible, key=lambda choice: mean_recall_ndcg(choice.after, split.ground_truth)[1])


def gini_change_bound(before: np.ndarray, after: np.ndarray, count: int) -> float:
    """Bootstrap the upper bound (QUANTILE) of Gini(after) − Gini(before).

    Both are lists of the same contexts, (contexts, N), over `count` catalog items.
    """
    contexts = len(before)
    if not contexts:
        return 0.0
    rng = np.random.default_rng(0)
    lists_before, lists_after = _incidence(before, count), _incidence(after, count)
    changes = []
    for _ in range(RESAMPLES):
        drawn = np.bincount(rng.integers(contexts, size=contexts), minlength=contexts)
        draws = drawn.astype(np.float64)
        changes.append(gini(lists_after @ draws) - gini(lists_before @ draws))
    return float(np.quantile(changes, QUANTILE))


def _incidence(top: np.ndarray, count: int) -> csr_array:
    """(items, contexts) 1 where a list contains an item."""
    from scipy.sparse import csr_array

    context, rank = np.nonzero(top != NO_ITEM)
    ones = np.ones(len(context))
    return csr_array((ones, (top[context, rank], context)), shape=(count, len(top)))
