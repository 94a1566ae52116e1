"""Slices of the test set, to see for which samples a system is better.

ground truths    number of ground-truth items
conversation     length in words, in thirds of the test set
wanted           whether the ground truth is among the HEAD_SIZE most popular items of training
month            month of the post, if posts are dated

A property with one value for all samples makes no slices. Small slices have wide intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np

from convrec.metrics import Bools
from convrec.metrics.head_share import head_items
from convrec.stages.evaluate.baselines import TrainingData
from convrec.stages.evaluate.samples import Sample

SLICED_METRICS = ("ndcg@20", "recall@20")
_POOLED_FROM = 3
"""Samples with this many ground truths or more are one slice."""


def slice_masks(samples: Sequence[Sample], training: TrainingData | None) -> dict[str, Bools]:
    """Return slice → (samples,) mask, with names such as "ground truths: 1", in order."""
    masks: dict[str, Bools] = {}
    for name, label in (
        ("ground truths", _truth_count),
        ("conversation", _length_label(samples)),
        ("wanted", _popularity_label(training)),
        ("month", _month),
    ):
        labels = np.array([label(sample) for sample in samples])
        distinct = [x for x in np.unique(labels).tolist() if x]
        if len(distinct) > 1:
            masks |= {f"{name}: {x.lstrip()}": labels == x for x in distinct}
    return masks


def _truth_count(sample: Sample) -> str:
    size = len(sample.ground_truth)
    return str(size) if size < _POOLED_FROM else f"{_POOLED_FROM} or more"


def _length_label(samples: Sequence[Sample]) -> Callable[[Sample], str]:
    words = [len(sample.conversation.split()) for sample in samples]
    low, high = (int(x) for x in np.quantile(words, [1 / 3, 2 / 3]))

    def label(sample: Sample) -> str:
        size = len(sample.conversation.split())
        if size <= low:
            return f"  up to {low} words"  # leading spaces sort by length
        return f" {low + 1} to {high} words" if size <= high else f"over {high} words"

    return label


def _popularity_label(training: TrainingData | None) -> Callable[[Sample], str]:
    if training is None:
        return lambda sample: ""
    head = set(head_items(training.mentions).tolist())

    def label(sample: Sample) -> str:
        in_head = [bool(training.matching_rows([truth]) & head) for truth in sample.ground_truth]
        return "head items" if all(in_head) else "both" if any(in_head) else "tail items"

    return label


def _month(sample: Sample) -> str:
    if sample.created_utc is None:
        return ""
    return datetime.fromtimestamp(sample.created_utc, UTC).strftime("%Y-%m")
