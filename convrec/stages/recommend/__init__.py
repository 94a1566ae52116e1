"""The recommend stage: the teacher LLM writes a ranked list for every context."""

from convrec.stages.recommend.step import TEACHER_LISTS

__all__ = ["TEACHER_LISTS"]
