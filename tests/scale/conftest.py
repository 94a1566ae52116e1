"""What tests time lies side by side in the end: the same work in one process and in several."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

Timed = Callable[[str], AbstractContextManager[None]]

TIMES: list[tuple[str, str, float]] = []


@pytest.fixture
def timed(request: pytest.FixtureRequest) -> Timed:
    """Take the time of a block; the summary of the tests has it, by the test and a name."""

    @contextlib.contextmanager
    def block(name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        TIMES.append((request.node.name, name, time.monotonic() - started))

    return block


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if TIMES:
        terminalreporter.section("seconds", sep="-")
    for test, name, seconds in TIMES:
        terminalreporter.write_line(f"{seconds:7.1f}  {name}  ({test})")
