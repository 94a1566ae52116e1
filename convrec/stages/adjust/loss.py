"""The listwise loss of Adjust: softmax cross-entropy of s_final over a context's candidates.

For a sample whose ground truth G is among its candidates,

    loss = −(1/|G|) Σ_{g∈G} log softmax_j(w_j·s_j + b_j)_g,    s = s_reflect − c,

averaged over samples, plus (pull·Σ(w − 1)² + bias_pull·Σb²) / samples. The loss is convex in
(w, b). Samples of one context share its candidates: their targets are added, and the softmax is
computed once. The paper's softmax is over the whole catalog (`convrec.stages.adjust.adjustment`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from convrec.stages.adjust.array_spill import ArraySpill
from convrec.stages.adjust.candidates import Candidates
from convrec.stages.adjust.ordered_candidates import SplitData


class ListBlock(NamedTuple):
    """Candidate lists with a ground truth in flat arrays, none of them empty.

    Attributes:
        items: (candidates,) Catalog rows.
        scores: (candidates,) s_reflect − c.
        target: (candidates,) Sum over the context's samples of 1/|G| for a ground truth, else 0.
        starts: (lists,) Position of each list's first candidate.
    """

    items: np.ndarray
    scores: np.ndarray
    target: np.ndarray
    starts: np.ndarray


class ListwiseData(NamedTuple):
    """Data of the loss: `ListBlock`s, iterated once an evaluation, and their number of samples."""

    blocks: Iterable[tuple[np.ndarray, ...]]
    samples: int


def listwise_data(split: SplitData, center: float = 0.0) -> ListwiseData:
    """Collect the lists of a split that contain a ground truth; `center` is c."""
    samples = 0

    def blocks() -> Iterator[ListBlock]:
        nonlocal samples
        for candidates in split.candidates:
            hits = _ground_truth_hits(candidates, split.ground_truth.items)
            if not hits.is_empty():
                samples += hits["sample"].n_unique()
                yield _list_block(candidates, hits, center)

    spilled = ArraySpill(blocks())
    return ListwiseData(spilled, samples)


def _ground_truth_hits(candidates: Candidates, truth: pl.DataFrame) -> pl.DataFrame:
    """Candidates that are a ground truth: sample, context, position and share (1/|G|)."""
    items = {"context": candidates.candidate_contexts, "item": candidates.items}
    positions = pl.DataFrame(items).with_row_index("position")
    return (
        truth.join(positions, on=["context", "item"])
        .with_columns((1.0 / pl.len().over("sample")).alias("share"))
        .sort("position", "share")  # sums do not depend on the order of samples
    )


def _list_block(candidates: Candidates, hits: pl.DataFrame, center: float) -> ListBlock:
    """The lists of the contexts with a hit."""
    target = np.bincount(
        hits["position"].to_numpy(), hits["share"].to_numpy(), minlength=len(candidates.items)
    )
    chosen = np.isin(candidates.context_numbers, hits["context"].to_numpy())
    kept = np.repeat(chosen, candidates.lengths)
    lengths = candidates.lengths[chosen]
    return ListBlock(
        items=candidates.items[kept],
        scores=candidates.scores[kept] - center,
        target=target[kept],
        starts=np.cumsum(lengths) - lengths,
    )


def listwise_loss(
    parameters: np.ndarray, data: ListwiseData, pull: float = 0.0, bias_pull: float = 0.0
) -> tuple[float, np.ndarray]:
    """Compute the regularized loss and its gradient, (2 · items,), as `parameters`: concat(w, b).

    `pull` regularizes w towards 1, `bias_pull` b towards 0.
    """
    loss, gradient = 0.0, np.zeros(len(parameters))
    for block in data.blocks:
        block_loss, block_gradient = _cross_entropy(parameters, ListBlock(*block), data.samples)
        loss += block_loss
        gradient += block_gradient
    count = len(parameters) // 2
    offset = parameters - np.repeat([1.0, 0.0], count)
    scale = np.repeat([pull, bias_pull], count) / data.samples
    return float(loss + scale @ offset**2), gradient + 2 * scale * offset


def _cross_entropy(
    parameters: np.ndarray, block: ListBlock, samples: int
) -> tuple[float, np.ndarray]:
    """The block's part of the mean over `samples` of the cross-entropy, and its gradient."""
    count = len(parameters) // 2
    weight, bias = parameters[:count], parameters[count:]
    items, scores, target, starts = block
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
    gradient = [np.bincount(items, part, minlength=count) for part in (logits, error)]
    return float(loss), np.concatenate(gradient)
