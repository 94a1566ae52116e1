"""The request layer: asking, keeping and accounting for chat completions."""

from convrec.llm.requests import Request

__all__ = ["Request"]
