"""What the transformers library prints: progress bars and warnings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from transformers.utils import logging


@contextlib.contextmanager
def hide_progress_bars() -> Iterator[None]:
    """Hide transformers' progress bars inside the block."""
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


@contextlib.contextmanager
def hide_warnings() -> Iterator[None]:
    """Hide transformers' progress bars and warnings inside the block."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with hide_progress_bars():
            yield
    finally:
        logging.set_verbosity(verbosity)
