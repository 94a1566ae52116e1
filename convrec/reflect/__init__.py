"""reflect: an LLM judge rates the top candidates in the light of the conversation.

s_reflect = s_remap + γ·(rating/L), ratings from −L to +L (ConvRec-R1, the Reflect step).
"""

from convrec.reflect.judge import judge_body, quoted, read_ratings, typical_bytes
from convrec.reflect.judgments import JUDGMENTS

__all__ = ["JUDGMENTS", "judge_body", "quoted", "read_ratings", "typical_bytes"]
