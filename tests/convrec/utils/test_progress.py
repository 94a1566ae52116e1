from __future__ import annotations

import pytest

from convrec.utils.progress import format_time, pace, time_left, with_pace


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (59, "59 s"),
        (61, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (86_400 + 3_700, "1 d 1 h"),
        (86_400 + 60, "1 d"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


@pytest.mark.parametrize(
    ("done", "seconds", "text"),
    [(0, 10, ""), (5, 0, ""), (50_000, 10, "5,000/s"), (10, 10, "1/s"), (1, 8, "7.5/min")],
)
def test_a_pace_is_a_second_or_a_minute(done: int, seconds: float, text: str) -> None:
    assert pace(done, seconds) == text


def test_nothing_is_left_of_work_that_is_done() -> None:
    assert time_left(10, 20, 60) == "2 min left"
    assert time_left(10, 0, 60) == time_left(0, 20, 60) == ""


def test_reports_say_how_fast_and_how_long() -> None:
    times = iter([0.0, 10.0, 20.0, 30.0, 32.0])
    shown: list[tuple[int, int, str]] = []
    report = with_pace(lambda *one: shown.append(one), lambda: next(times))
    report(10, 50, "texts")  # the first report tells when, not how fast
    report(30, 50, "texts")
    report(50, 50, "texts")
    report(1, 3, "lists")  # other work
    report(2, 3, "lists")
    assert shown == [
        (10, 50, "texts"),
        (30, 50, "texts, 2/s, 10 s left"),
        (50, 50, "texts, 2/s"),
        (1, 3, "lists"),
        (2, 3, "lists, 30/min, 2 s left"),
    ]
