"""The micro student of the rank_grpo tests."""

from __future__ import annotations

from tests.convrec.rank_grpo.conftest import checkpoint

__all__ = ["checkpoint"]
