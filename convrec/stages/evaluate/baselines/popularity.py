"""Popularity: everyone is recommended what training answers name most often.

It reads nothing of the conversation but what has been seen. A model that does not beat it has
learned what is popular, and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convrec.metrics.relevance import Titled
from convrec.stages.evaluate.baselines.training import TrainingData

if TYPE_CHECKING:
    from convrec.stages.evaluate.samples import Sample


def popularity(training: TrainingData, samples: Sequence[Sample], n: int) -> list[list[Titled]]:
    """The `n` most often named items that each sample has not seen; ties by catalog row.

    A list is shorter where training answers name fewer items.
    """
    lists = []
    for sample in samples:
        seen = training.seen(sample.seen)
        best = training.by_popularity[: n + len(seen)].tolist()
        lists.append(training.named([row for row in best if row not in seen][:n]))
    return lists
