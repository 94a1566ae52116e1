"""How long work tells people how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called with what is done, all there is to do, and a text for people."""


def no_progress(done: int, total: int, text: str) -> None:
    """Report nothing."""
