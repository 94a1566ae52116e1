"""Systems that any model has to beat, from training data alone: popularity and neighbours."""

from convrec.evaluate.baselines.knn import choose_k, knn
from convrec.evaluate.baselines.popularity import popularity
from convrec.evaluate.baselines.training import Training, read_training

__all__ = ["Training", "choose_k", "knn", "popularity", "read_training"]
