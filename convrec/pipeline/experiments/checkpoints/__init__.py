"""Comparison of trained checkpoints of one data set, named by their ids."""

from convrec.pipeline.experiments.checkpoints.contenders import Contender, find_contenders
from convrec.pipeline.experiments.checkpoints.scores import scores_node

__all__ = ["Contender", "find_contenders", "scores_node"]
