"""Ablation of Remap, Reflect and Adjust, and a search for their settings."""

from convrec.pipeline.experiments.ablation.ladder import ABLATION
from convrec.pipeline.experiments.ablation.search import SEARCH

__all__ = ["ABLATION", "SEARCH"]
