"""reflect: an LLM judge rates the top candidates in the light of the conversation.

s_reflect = s_remap + γ·(rating/L), ratings from −L to +L (ConvRec-R1, the Reflect step).
"""

from convrec.stages.reflect.judgments import JUDGMENTS
from convrec.stages.reflect.prompt import judge_body, sanitize, typical_bytes

__all__ = ["JUDGMENTS", "judge_body", "sanitize", "typical_bytes"]
