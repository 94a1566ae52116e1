"""Baselines that use only training data: popularity and nearest neighbors."""

from __future__ import annotations

from typing import NamedTuple

from convrec.stages.base import StepContext
from convrec.stages.evaluate.baselines.knn import choose_k, knn
from convrec.stages.evaluate.baselines.popularity import popularity
from convrec.stages.evaluate.baselines.training import TrainingData, read_training
from convrec.stages.evaluate.samples import read_samples

__all__ = [
    "Baselines",
    "TrainingData",
    "choose_k",
    "knn",
    "popularity",
    "read_baselines",
    "read_training",
]


class Baselines(NamedTuple):
    """What the baselines of a run need: training data, and the k of kNN."""

    training: TrainingData
    k: int


def read_baselines(ctx: StepContext, k: int | None = None) -> Baselines | None:
    """Return them, with `k` or that of validation; None if training names no catalog item."""
    training = read_training(ctx)
    if training is None:
        return None
    if not k:
        k = choose_k(training, read_samples(ctx, "validation"))
    return Baselines(training, k)
