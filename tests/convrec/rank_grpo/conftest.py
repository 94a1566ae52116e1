from __future__ import annotations

from tests.support.film_student import checkpoint

__all__ = ["checkpoint"]
