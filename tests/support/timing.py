"""The type of the fixture `timed`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

Timed = Callable[[str], AbstractContextManager[None]]
"""Takes the name of a block; the block's duration is in the summary of the test run."""
