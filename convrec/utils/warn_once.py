"""Warnings that a process logs once, however many stages say the same."""

from __future__ import annotations

import logging

_LOG = logging.getLogger("convrec")

_warned: set[str] = set()


def warn_once(message: str) -> None:
    """Log a warning, unless this process has logged it before."""
    if message not in _warned:
        _warned.add(message)
        _LOG.warning("%s", message)
