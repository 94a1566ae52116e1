"""What a teacher's favourite loses: the part of the bias that evens the lists out.

The bias of item j gets −κ·log((q_j + q̄) / 2q̄), q_j being how often j stands in the training lists
by s_reflect, q̄ the mean over the catalog: logit adjustment (Menon et al., arXiv 2007.07314) by the
frequency with which the teacher recommends. An item listed as often as the average stays, one
never listed gains at most κ·log 2, so noise at the end of a long catalog is not lifted.

κ is `adjust.balance`; unless it is set it is chosen on validation: of the STRENGTHS at which the
popularity Gini of the lists is lower than before adjust beyond its noise (contexts resampled in
pairs, upper 97.5% end below 0), the one with the highest NDCG@20, the smaller on a tie. Where none
is, as with few conversations, 0: without evidence nothing is lowered. Without validation samples
the train split stands in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from convrec.metrics.popularity import gini
from convrec.stages.adjust.figures import ranking
from convrec.stages.adjust.top_n import NONE, final_scores, top_items

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_array

    from convrec.stages.adjust.split import Split

STRENGTHS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
RESAMPLES = 200
LEVEL = 0.975


class PenaltyChoice(NamedTuple):
    """The balance, the lists before and with it, and whether their Gini is surely lower."""

    balance: float
    before: np.ndarray
    after: np.ndarray
    lower: bool


def excess(listed: np.ndarray) -> np.ndarray:
    """log((q_j + q̄) / 2q̄) of each catalog item; `listed` is q, with at least one item listed."""
    import numpy as np

    mean = listed.mean()
    return np.asarray(np.log((listed + mean) / (2.0 * mean)))


def choose(
    split: Split,
    n: int,
    weight: np.ndarray,
    bias: np.ndarray,
    favour: np.ndarray,
    fixed: float | None,
) -> PenaltyChoice:
    """The balance for w and b; `favour` is `excess`, `fixed` the only strength to try if given."""
    candidates = split.candidates.whole()
    before = top_items(candidates, n)
    count = len(weight)
    tried: list[PenaltyChoice] = []
    for balance in STRENGTHS if fixed is None else (fixed,):
        scores = final_scores(candidates, weight, bias - balance * favour)
        after = top_items(candidates, n, scores)
        tried.append(PenaltyChoice(balance, before, after, gini_rise(before, after, count) < 0))
    surely = [choice for choice in tried if choice.lower]
    return max(surely or tried[:1], key=lambda choice: ranking(choice.after, split)[1])


def gini_rise(before: np.ndarray, after: np.ndarray, count: int) -> float:
    """The upper end of Gini(after) − Gini(before) when contexts are drawn again, in pairs.

    `before` and `after` are lists of the same contexts, `count` the items of the catalog.
    """
    import numpy as np

    contexts = len(before)
    if not contexts:
        return 0.0
    rng = np.random.default_rng(0)
    first, second = _by_item(before, count), _by_item(after, count)
    rises = np.zeros(RESAMPLES)
    for at in range(RESAMPLES):
        drawn = np.bincount(rng.integers(contexts, size=contexts), minlength=contexts)
        rises[at] = gini(second @ drawn.astype(np.float64)) - gini(first @ drawn.astype(np.float64))
    return float(np.quantile(rises, LEVEL))


def _by_item(top: np.ndarray, count: int) -> csr_array:
    """(items, contexts) with 1 where a list has an item."""
    import numpy as np
    from scipy.sparse import csr_array

    owner, rank = np.nonzero(top != NONE)
    return csr_array((np.ones(len(owner)), (top[owner, rank], owner)), shape=(count, len(top)))
