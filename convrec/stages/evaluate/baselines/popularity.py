"""The popularity baseline: recommend what training answers name most often.

It uses nothing of the conversation except the seen items. A model that does not beat it has learned
only what is popular.
"""

from __future__ import annotations

from collections.abc import Sequence

from convrec.metrics.relevance import TitleAndYear
from convrec.stages.evaluate.baselines.training import TrainingData
from convrec.stages.evaluate.samples import Sample


def popularity(
    training: TrainingData, samples: Sequence[Sample], n: int
) -> list[list[TitleAndYear]]:
    """Return the `n` most often named items that each sample has not seen; ties by catalog row."""
    return [training.top_unseen(training.by_popularity, sample, n) for sample in samples]
