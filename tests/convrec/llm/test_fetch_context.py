from __future__ import annotations

import time

import pytest

from convrec.llm.fetch_context import FetchStats
from convrec.llm.prices import Usage
from convrec.llm.rate_limit import format_duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (40, "40 s"), (720, "12 min"), (12000, "3 h 20 min")]
)
def test_durations_are_formatted(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_the_text_projects_dollars_and_time() -> None:
    shown: list[tuple[int, int, str]] = []
    stats = FetchStats(100, lambda *report: shown.append(report), found=20, sent=43, bought=40)
    stats.failures = {"k": "odd"}
    stats.bill(Usage(3000, 0, 1000), 0.4)
    stats.started = time.monotonic() - 20
    stats.activity = "batch"
    stats.report()
    done, total, text = shown[0]
    assert (done, total) == (61, 100)
    assert "20 from the store, 43 sent, 1 failed" in text
    assert "4,000 tokens, $0.4000 of about $0.7900" in text
    assert "2/s; 20 s left" in text
    assert text.endswith("; batch")
