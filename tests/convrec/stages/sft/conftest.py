"""The micro student of the model tests."""

from __future__ import annotations

from tests.convrec.models.conftest import micro, one_thread

__all__ = ["micro", "one_thread"]
