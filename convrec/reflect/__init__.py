"""reflect: an LLM judge rates the top candidates in the light of the conversation.

s_reflect = s_remap + γ·(rating/L), ratings from −L to +L (ConvRec-R1, the Reflect step).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.lazy import exports

if TYPE_CHECKING:
    from convrec.reflect.judge import judge_body, quoted, typical_bytes
    from convrec.reflect.judgments import JUDGMENTS

__all__ = ["JUDGMENTS", "judge_body", "quoted", "typical_bytes"]

__getattr__ = exports(
    __name__,
    {
        "JUDGMENTS": "judgments",
        "judge_body": "judge",
        "quoted": "judge",
        "typical_bytes": "judge",
    },
)
