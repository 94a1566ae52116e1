from __future__ import annotations

from tests.support.deployment import deployed, tiny

__all__ = ["deployed", "tiny"]
