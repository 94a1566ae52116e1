"""The listwise softmax cross-entropy of candidate lists, and what it is learned from.

For a sample with ground truth G among its candidates

    loss = −(1/|G|) Σ_{g∈G} log softmax(w_j·s_j + b_j)_g,

averaged over samples, plus (pull·Σ(w − 1)² + bias_pull·Σb²) / samples. Samples that answer one
context share its candidates, so their targets are added and the softmax is taken once a context.
The loss is convex in (w, b).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from convrec.stages.adjust.array_spill import ArraySpill

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np

    from convrec.stages.adjust.split import Split


class Lists(NamedTuple):
    """Lists with a ground truth in flat arrays; list i starts at starts[i]; none is empty."""

    items: np.ndarray  # catalog row of each candidate
    scores: np.ndarray  # s_reflect, centred
    target: np.ndarray  # summed over samples: 1/|G| on ground truth, 0 elsewhere
    starts: np.ndarray


class Listwise(NamedTuple):
    """Blocks of `Lists`, gone through at every step of a fit, and how many samples they are of."""

    blocks: Iterable[tuple[np.ndarray, ...]]
    samples: int


def listwise(split: Split, centre: float = 0.0) -> Listwise:
    """The lists of a split with at least one ground truth in them; scores less `centre`."""
    found = _Found(split, centre)
    return Listwise(ArraySpill(found), found.samples)


class _Found:
    """The lists of each block; `samples` counts while they are gone through."""

    def __init__(self, split: Split, centre: float) -> None:
        self._split, self._centre, self.samples = split, centre, 0

    def __iter__(self) -> Iterator[Lists]:
        import numpy as np
        import polars as pl

        for block in self._split.candidates:
            place = pl.DataFrame({"context": block.owners, "item": block.items})
            hits = (
                self._split.truth.join(place.with_row_index("at"), on=["context", "item"])
                .with_columns((1.0 / pl.len().over("sample")).alias("share"))
                .sort("at", "share")  # the same sums in whatever order the samples came
            )
            if hits.is_empty():
                continue
            self.samples += hits["sample"].n_unique()
            target = np.bincount(
                hits["at"].to_numpy(), hits["share"].to_numpy(), minlength=len(block.items)
            )
            chosen = np.isin(block.numbers, hits["context"].to_numpy())
            kept = np.repeat(chosen, block.lengths)
            lengths = block.lengths[chosen]
            yield Lists(
                items=block.items[kept],
                scores=block.scores[kept] - self._centre,
                target=target[kept],
                starts=np.cumsum(lengths) - lengths,
            )


def listwise_loss(
    parameters: np.ndarray, data: Listwise, pull: float = 0.0, bias_pull: float = 0.0
) -> tuple[float, np.ndarray]:
    """(loss, gradient) at `parameters` = concat(w, b), each one a catalog item."""
    import numpy as np

    loss, gradient = 0.0, np.zeros(len(parameters))
    for block in data.blocks:
        part, slope = _loss(parameters, Lists(*block), data.samples)
        loss += part
        gradient += slope
    count = len(parameters) // 2
    away = parameters - np.repeat([1.0, 0.0], count)
    scale = np.repeat([pull, bias_pull], count) / data.samples
    return float(loss + scale @ away**2), gradient + 2 * scale * away


def _loss(parameters: np.ndarray, lists: Lists, samples: int) -> tuple[float, np.ndarray]:
    """The cross-entropy of some of the lists over all `samples`, and its gradient."""
    import numpy as np

    count = len(parameters) // 2
    weight, bias = parameters[:count], parameters[count:]
    items, scores, target, starts = lists
    lengths = np.diff(starts, append=len(items))
    logits = weight[items]
    logits *= scores
    logits += bias[items]
    logits -= np.repeat(np.maximum.reduceat(logits, starts), lengths)
    error = np.exp(logits)
    total = np.add.reduceat(error, starts)
    mass = np.add.reduceat(target, starts)
    loss = (mass @ np.log(total) - target @ logits) / samples
    error *= np.repeat(mass / total, lengths)
    error -= target
    error /= samples
    np.multiply(error, scores, out=logits)
    slope = [np.bincount(items, of, minlength=count) for of in (logits, error)]
    return float(loss), np.concatenate(slope)
