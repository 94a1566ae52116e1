"""Systems that any model has to beat, from training data alone: popularity and neighbours."""

from convrec.stages.evaluate.baselines.knn import choose_k, knn
from convrec.stages.evaluate.baselines.popularity import popularity
from convrec.stages.evaluate.baselines.training import TrainingData, read_training

__all__ = ["TrainingData", "choose_k", "knn", "popularity", "read_training"]
