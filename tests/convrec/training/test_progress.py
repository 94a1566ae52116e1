from __future__ import annotations

import pytest

from convrec.training.progress import TrainingProgress, format_time


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


def test_the_time_left_follows_from_the_steps_of_this_process() -> None:
    times = iter([0.0, 0.0, 10.0, 10.0, 20.0, 30.0, 30.0])
    shown: list[tuple[int, int, str]] = []
    progress = TrainingProgress(lambda *report: shown.append(report), lambda: next(times))
    progress.log(5, 8, "loss 3.000", {"num_tokens": 100})  # resumed after step 4
    progress.log(6, 8, "loss 2.000", {"num_tokens": 300})
    progress.step(7, 8)
    progress.log(8, 8, "loss 1.000", {"num_tokens": 700})
    assert shown == [
        (5, 8, "loss 3.000"),
        (6, 8, "loss 2.000, 20 tokens/s, 20 s left"),
        (7, 8, "loss 2.000, 20 tokens/s, 10 s left"),
        (8, 8, "loss 1.000, 20 tokens/s"),
    ]
