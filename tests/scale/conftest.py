"""The fixture `timed`: the summary lists durations, e.g. of one process and of several."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.timing import Timed

DURATIONS: list[tuple[str, str, float]] = []
"""(test, block, seconds)."""


@pytest.fixture
def timed(request: pytest.FixtureRequest) -> Timed:
    """Measure the duration of a named block."""

    @contextlib.contextmanager
    def block(name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        DURATIONS.append((request.node.name, name, time.monotonic() - started))

    return block


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if DURATIONS:
        terminalreporter.section("seconds", sep="-")
    for test, name, seconds in DURATIONS:
        terminalreporter.write_line(f"{seconds:7.1f}  {name}  ({test})")
