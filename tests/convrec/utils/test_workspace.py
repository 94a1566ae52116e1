"""Working folders: one process at a time, found again, gone when the artifact is committed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convrec.training.checkpoint import latest_checkpoint
from convrec.training.metrics_log import METRICS, SAMPLES, MetricsLog
from convrec.utils.workspace import remove_workspace, workspace


def test_a_folder_is_found_again_and_removed_when_told(tmp_path: Path) -> None:
    folder = tmp_path / "training" / "checkpoint-1"
    with workspace(folder) as first:
        (first / "file").write_text("kept")
    with workspace(folder) as second:
        assert second == folder
        assert (second / "file").read_text() == "kept"
    remove_workspace(folder)
    assert not folder.exists()
    remove_workspace(folder)


def test_a_taken_folder_is_left_to_its_owner(tmp_path: Path) -> None:
    with workspace(tmp_path / "one") as first:
        (first / "file").write_text("mine")
        with workspace(tmp_path / "one") as second:
            assert second != first
            assert not list(second.iterdir())
        assert not second.exists()
        remove_workspace(first)
        assert (first / "file").exists()


def test_a_run_without_a_folder_leaves_none() -> None:
    with workspace(None) as folder:
        assert folder.is_dir()
    assert not folder.exists()


def test_a_record_goes_on_after_its_checkpoint_and_drops_what_came_later(tmp_path: Path) -> None:
    record = MetricsLog(tmp_path)
    for step in (1, 2, 3):
        record.add(step, {"loss": step / 3})
        record.sample(step, [{"completion": "Amélie (2001)"}])
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 4, "lo')  # a crash in the middle of a line
    again = MetricsLog(tmp_path, 2)
    again.add(3, {"loss": 9.0})
    assert again.points == [(1, "loss", 1 / 3), (2, "loss", 2 / 3), (3, "loss", 9.0)]
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert lines == [{"step": step, "loss": value} for step, _, value in again.points]
    assert len((tmp_path / SAMPLES).read_text(encoding="utf-8").splitlines()) == 2
    assert again.mean("loss", 1, 2) == pytest.approx(0.5)
    assert MetricsLog(tmp_path).points == []


def test_half_saved_and_foreign_checkpoints_are_not_gone_on_from(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    (tmp_path / ".saving").mkdir()
    assert latest_checkpoint(tmp_path) is None
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3" / "run.json").write_text('{"versions": {"torch": "0.4"}}')
    assert latest_checkpoint(tmp_path) is None
