"""What each part of Remap–Reflect–Adjust is worth, and which settings suit the data."""

from convrec.pipeline.experiments.ablation.ladder import ABLATION
from convrec.pipeline.experiments.ablation.search import SEARCH

__all__ = ["ABLATION", "SEARCH"]
