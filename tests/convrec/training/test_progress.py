from __future__ import annotations

from convrec.training.progress import TrainingProgress


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
