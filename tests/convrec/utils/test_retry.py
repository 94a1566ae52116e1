"""Back-off: the delay doubles up to its limit, with jitter, until the time is over."""

from __future__ import annotations

import pytest

from convrec.utils.retry import Backoff


def test_the_delay_doubles_up_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []
    monkeypatch.setattr("convrec.utils.retry.time.sleep", delays.append)
    monkeypatch.setattr("convrec.utils.retry.random.uniform", lambda low, high: high)
    backoff = Backoff(60, first=0.1, longest=0.5)
    for _ in range(4):
        backoff.sleep()
    assert delays == pytest.approx([0.15, 0.3, 0.6, 0.75])


def test_the_time_for_attempts_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("convrec.utils.retry.time.monotonic", lambda: now[0])
    backoff = Backoff(10, first=0.1, longest=1)
    assert not backoff.is_over
    now[0] = 110.1
    assert backoff.is_over
