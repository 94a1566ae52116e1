"""What adjust does to the lists, in figures: popularity and ranking, before and after.

"before" are the N best by s_reflect, "after" the N best by s_final, seen items left out of both.
Popularity is read as in `convrec.metrics.popularity`: the Gini coefficient over the whole catalog,
catalog coverage, and the share of the head, the 50 items most often in training ground truth.
Recall and NDCG follow the `standard` protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from convrec.metrics.ndcg import ndcg
from convrec.metrics.popularity import HEAD, coverage, gini, head_items, head_share
from convrec.metrics.recall import recall
from convrec.stages.adjust.top_n import NONE, item_counts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convrec.stages.adjust.split import Answers

CUTOFF = 20
Tops = Mapping[str, "np.ndarray"]
"""When ("before", "after") → the lists of `convrec.stages.adjust.top_n.top_items`."""


def popularity_figures(tops: Tops, mentions: np.ndarray, split: str) -> dict[str, float]:
    """Gini, coverage and head share of the lists of a split; `mentions` as in `head_items`."""
    head = head_items(mentions)
    measures: dict[str, Callable[[NDArray[np.float64]], float]] = {
        "popularity Gini": lambda counts: float(gini(counts)),
        "catalog coverage": coverage,
        f"top-{HEAD} share": lambda counts: head_share(counts, head),
    }
    return {
        f"{split} {name} {when}": round(measure(item_counts(top, len(mentions))), 4)
        for name, measure in measures.items()
        for when, top in tops.items()
        if len(top)
    }


def ranking_figures(tops: Tops, split: Answers) -> dict[str, float]:
    """Recall@20 and NDCG@20 over the samples of a split; none where it has no sample."""
    if split.samples.is_empty():
        return {}
    found = {when: ranking(top, split) for when, top in tops.items()}
    return {
        f"{split.name} {name} {when}": round(values[column], 4)
        for column, name in enumerate((f"Recall@{CUTOFF}", f"NDCG@{CUTOFF}"))
        for when, values in found.items()
    }


def ranking(top: np.ndarray, split: Answers) -> tuple[float, float]:
    """(Recall@20, NDCG@20) of the lists, one a context, over at least one sample."""
    import numpy as np

    listed = top[split.samples["context"].to_numpy(), :CUTOFF].astype(np.int64)
    sample, of, item = (
        column.to_numpy().astype(np.int64)
        for column in (split.samples["sample"], split.truth["sample"], split.truth["item"])
    )
    hits = np.isin((sample[:, None] << 32) + listed, (of << 32) + item) & (listed != NONE)
    sizes = split.samples["size"].to_numpy().astype(np.int64)
    relevance = hits.astype(np.float64)
    return (
        float(recall(relevance, sizes, CUTOFF).mean()),
        float(ndcg(relevance, sizes, CUTOFF).mean()),
    )
