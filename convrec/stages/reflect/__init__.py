"""Reflect: s_reflect = s_remap + γ·rating/L (ConvRec-R1, arXiv 2510.20150, the Reflect step).

An LLM judge rates the top N_r candidates of each context from −L to +L in the light of the
conversation. JUDGMENTS holds the ratings and s_reflect.
"""

from convrec.stages.reflect.judgments import JUDGMENTS
from convrec.stages.reflect.prompt import expected_response_bytes, judge_body, sanitize

__all__ = ["JUDGMENTS", "expected_response_bytes", "judge_body", "sanitize"]
