"""convrec: conversations, a changing catalog and a teacher LLM into a small recommender LLM."""

from importlib import import_module
from typing import Any

from convrec.utils.telemetry import disable_telemetry

__version__ = "0.2.0"

disable_telemetry()


def __getattr__(name: str) -> Any:
    """`Pipeline` of convrec.api, which is above all other modules, and loaded when it is used."""
    if name == "Pipeline":
        return import_module("convrec.api").Pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
