"""Which checkpoint a training resumes from."""

from __future__ import annotations

from pathlib import Path

from convrec.training.checkpoint import latest_checkpoint


def test_incomplete_and_foreign_checkpoints_are_ignored(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    (tmp_path / ".saving").mkdir()
    assert latest_checkpoint(tmp_path) is None
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3" / "run.json").write_text('{"versions": {"torch": "0.4"}}')
    assert latest_checkpoint(tmp_path) is None
