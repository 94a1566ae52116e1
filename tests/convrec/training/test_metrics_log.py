"""The log of metrics and samples continues after a checkpoint without later or broken lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convrec.training.metrics_log import METRICS, SAMPLES, MetricsLog


def test_resuming_drops_lines_after_the_checkpoint(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for step in (1, 2, 3):
        log.add_metrics(step, {"loss": step / 3})
        log.add_samples(step, [{"completion": "Amélie (2001)"}])
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 4, "lo')  # a crash in the middle of a line
    resumed = MetricsLog(tmp_path, 2)
    resumed.add_metrics(3, {"loss": 9.0})
    assert resumed.points == [(1, "loss", 1 / 3), (2, "loss", 2 / 3), (3, "loss", 9.0)]
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert lines == [{"step": step, "loss": value} for step, _, value in resumed.points]
    assert len((tmp_path / SAMPLES).read_text(encoding="utf-8").splitlines()) == 2
    assert resumed.mean("loss", 1, 2) == pytest.approx(0.5)
    assert MetricsLog(tmp_path).points == []
