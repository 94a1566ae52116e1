from __future__ import annotations

from tests.support.micro import micro, one_thread

__all__ = ["micro", "one_thread"]
