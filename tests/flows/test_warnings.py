"""Warnings of convrec reach the terminal and the log of the run, and only while it runs."""

from __future__ import annotations

import io
import logging
import threading

import pytest
from rich.console import Console

from flows.console import ConsoleListener
from tasks import run_log

MODULES = ("convrec.llm.parameters", "convrec.stages.ingest.skipped")


def warn(text: str, module: str = MODULES[0]) -> None:
    """Log as the dispatcher does, from a thread of its own."""
    log = logging.getLogger(module).warning
    thread = threading.Thread(target=log, args=("left out: %s", text))
    thread.start()
    thread.join()


@pytest.mark.parametrize("module", MODULES)
def test_the_terminal_shows_warnings(module: str) -> None:
    out = io.StringIO()
    with ConsoleListener(Console(file=out, width=40)):
        warn("temperature [of] the model " + "x" * 60, module)
    warn("later")
    assert out.getvalue() == "warning: left out: temperature [of] the model " + "x" * 60 + "\n"


def test_the_log_of_a_run_has_the_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[logging.LogRecord] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    run_logger = logging.Logger("run")
    run_logger.addHandler(Kept())
    monkeypatch.setattr(run_log, "get_run_logger", lambda: run_logger)
    with run_log.forwarded_warnings():
        warn("max_tokens")
    warn("later")
    assert [record.getMessage() for record in records] == ["left out: max_tokens"]
    assert records[0].levelno == logging.WARNING
