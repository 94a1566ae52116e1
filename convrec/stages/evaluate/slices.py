"""Parts of the test set: is a system better for everyone, or for some?

ground truths    how many items the answer names
conversation     its length in words, in thirds of the test set
wanted           whether the wanted items are among the HEAD most popular of training, or not
month            of the post, where posts are dated

A slice of one sample says nothing of others; its interval shows it. A property that is the same for
all samples makes no slice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from convrec.metrics.popularity import head_items
from convrec.stages.evaluate.samples import Sample

if TYPE_CHECKING:
    from convrec.stages.evaluate.baselines import TrainingData

SLICED = ("ndcg@20", "recall@20")
MANY = 3
"""Ground truths from which samples are taken together."""


def slices(
    samples: Sequence[Sample], training: TrainingData | None
) -> dict[str, NDArray[np.bool_]]:
    """Slice → which samples are in it, as "ground truths: 1", in order."""
    found: dict[str, NDArray[np.bool_]] = {}
    for name, label in (
        ("ground truths", _count),
        ("conversation", _length(samples)),
        ("wanted", _popular(training)),
        ("month", _month),
    ):
        labels = np.array([label(sample) for sample in samples])
        different = [x for x in np.unique(labels).tolist() if x]
        if len(different) > 1:
            found |= {f"{name}: {x.lstrip()}": labels == x for x in different}
    return found


def _count(sample: Sample) -> str:
    size = len(sample.ground_truth)
    return str(size) if size < MANY else f"{MANY} or more"


def _length(samples: Sequence[Sample]) -> Callable[[Sample], str]:
    words = [len(sample.conversation.split()) for sample in samples]
    low, high = (int(x) for x in np.quantile(words, [1 / 3, 2 / 3]))

    def label(sample: Sample) -> str:
        size = len(sample.conversation.split())
        if size <= low:
            return f"  up to {low} words"  # blanks keep the order of lengths
        return f" {low + 1} to {high} words" if size <= high else f"over {high} words"

    return label


def _popular(training: TrainingData | None) -> Callable[[Sample], str]:
    if training is None:
        return lambda sample: ""
    head = set(head_items(training.mentions).tolist())

    def label(sample: Sample) -> str:
        in_head = [bool(training.seen([truth]) & head) for truth in sample.ground_truth]
        return "head items" if all(in_head) else "both" if any(in_head) else "tail items"

    return label


def _month(sample: Sample) -> str:
    if sample.created_utc is None:
        return ""
    return datetime.fromtimestamp(sample.created_utc, UTC).strftime("%Y-%m")
