"""Baselines that use only training data: popularity and nearest neighbors."""

from convrec.stages.evaluate.baselines.knn import choose_k, knn
from convrec.stages.evaluate.baselines.popularity import popularity
from convrec.stages.evaluate.baselines.training import TrainingData, read_training

__all__ = ["TrainingData", "choose_k", "knn", "popularity", "read_training"]
