"""The listwise softmax cross-entropy of candidate lists, and what it is learned from.

For a sample with ground truth G among its candidates

    loss = −(1/|G|) Σ_{g∈G} log softmax(w_j·s_j + b_j)_g,

averaged over samples, plus (pull·Σ(w − 1)² + bias_pull·Σb²) / samples. Samples that answer one
context share its candidates, so their targets are added and the softmax is taken once a context.
The loss is convex in (w, b).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from convrec.adjust.split import Split


@dataclass(frozen=True)
class Listwise:
    """Lists with a ground truth in flat arrays; list i starts at starts[i]; none is empty."""

    items: np.ndarray  # catalog row of each candidate
    scores: np.ndarray  # s_reflect, centred
    target: np.ndarray  # summed over samples: 1/|G| on ground truth, 0 elsewhere
    starts: np.ndarray
    samples: int


def listwise(split: Split, centre: float = 0.0) -> Listwise:
    """The lists of a split with at least one ground truth in them; scores less `centre`."""
    import numpy as np
    import polars as pl

    candidates = split.candidates
    place = pl.DataFrame(
        {"context": candidates.owners.astype(np.uint32), "item": candidates.items}
    ).with_row_index("at")
    hits = (
        split.truth.join(place, on=["context", "item"])
        .with_columns((1.0 / pl.len().over("sample")).alias("share"))
        .sort("at", "share")  # the same sums in whatever order the samples came
    )
    target = np.bincount(
        hits["at"].to_numpy(), hits["share"].to_numpy(), minlength=len(candidates.items)
    )
    chosen = np.zeros(len(candidates.lengths), dtype=bool)
    chosen[hits["context"].to_numpy()] = True
    kept = np.repeat(chosen, candidates.lengths)
    lengths = candidates.lengths[chosen]
    return Listwise(
        items=candidates.items[kept],
        scores=candidates.scores[kept] - centre,
        target=target[kept],
        starts=np.cumsum(lengths) - lengths,
        samples=hits["sample"].n_unique(),
    )


def listwise_loss(
    parameters: np.ndarray, data: Listwise, pull: float = 0.0, bias_pull: float = 0.0
) -> tuple[float, np.ndarray]:
    """(loss, gradient) at `parameters` = concat(w, b), each one a catalog item."""
    import numpy as np

    count = len(parameters) // 2
    weight, bias = parameters[:count], parameters[count:]
    lengths = np.diff(data.starts, append=len(data.items))
    logits = weight[data.items]
    logits *= data.scores
    logits += bias[data.items]
    logits -= np.repeat(np.maximum.reduceat(logits, data.starts), lengths)
    error = np.exp(logits)
    total = np.add.reduceat(error, data.starts)
    mass = np.add.reduceat(data.target, data.starts)
    loss = (mass @ np.log(total) - data.target @ logits) / data.samples
    error *= np.repeat(mass / total, lengths)
    error -= data.target
    error /= data.samples
    np.multiply(error, data.scores, out=logits)
    gradient = np.concatenate(
        [np.bincount(data.items, of, minlength=count) for of in (logits, error)]
    )
    away = np.concatenate([weight - 1.0, bias])
    scale = np.repeat([pull, bias_pull], count) / data.samples
    return float(loss + scale @ away**2), gradient + 2 * scale * away
