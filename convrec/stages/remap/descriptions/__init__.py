"""Descriptions of items: keywords and a plot, by the LLM, from facts, or both.

Paper: data construction, Remap. The paper has the teacher describe every item, also those outside
the catalog, and compares descriptions instead of titles.
"""

from convrec.stages.remap.descriptions.facts import FactSource, register_facts
from convrec.stages.remap.descriptions.step import DESCRIPTIONS, is_described

__all__ = ["DESCRIPTIONS", "FactSource", "is_described", "register_facts"]
