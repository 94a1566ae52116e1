"""What each part of Remap–Reflect–Adjust is worth, and which settings suit the data."""

from convrec.ablation.ladder import ABLATION
from convrec.ablation.search import SEARCH

__all__ = ["ABLATION", "SEARCH"]
