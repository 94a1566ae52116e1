"""convrec: conversations, a changing catalog and a teacher LLM into a small recommender LLM."""

from convrec.utils.telemetry import disable_telemetry

__version__ = "0.1.0"

disable_telemetry()
