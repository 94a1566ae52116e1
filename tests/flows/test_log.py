"""The log has one line per event, with ids, and no text of a post."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convrec.demo.posts import generate_rows
from convrec.errors import ConvrecError
from flows.pipeline import pipeline
from tests.support.expired_batch import replay_expired_batch

Small = dict[str, Any]

MARKER = "xyzzyplugh"


class LineHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter().format(record))


@pytest.fixture
def log() -> Iterator[LineHandler]:
    handler = LineHandler()
    loggers = [logging.getLogger(name) for name in ("", "prefect", "convrec")]
    for logger in loggers:
        logger.addHandler(handler)
    yield handler
    for logger in loggers:
        logger.removeHandler(handler)


def write_marked_posts(folder: Path) -> dict[str, Any]:
    """Write the demo's posts, each with MARKER, and two broken rows; return the overrides."""
    rows = generate_rows(7, {"train": 12, "validation": 3, "test": 3}, "films")
    for row in rows:
        if isinstance(row, dict):
            row["prompt"][0]["content"] += f" {MARKER}"
    folder.mkdir()
    lines = (json.dumps(row) for row in [*rows, {"prompt": MARKER}, MARKER])
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return {"ingest.format": "reddit-v2", "ingest.path": str(folder)}


def test_a_run_logs_one_line_per_event_and_no_post(
    home: Path,
    small: dict[str, Any],
    tmp_path: Path,
    log: LineHandler,
    capfd: pytest.CaptureFixture[str],
) -> None:
    overrides = {**small, **write_marked_posts(tmp_path / "data")}
    summary = pipeline(profile="demo", overrides=overrides, until="sft")
    run = f"run={summary['flow_run_id']}"
    lines = [line for line in log.lines if run in line]
    built = [entry for entry in summary["stages"] if entry["artifact_id"]]
    assert {entry["kind"] for entry in built} >= {"conversations", "judgments", "checkpoint"}
    for entry in built:
        (line,) = {line for line in lines if f"artifact={entry['artifact_id']} " in line}
        assert f"rows={entry['rows']}" in line
    assert any("run started" in line for line in lines)
    assert any("outcome=completed" in line for line in lines)
    assert not any("\n" in line for line in lines)
    assert MARKER not in "\n".join([*log.lines, *capfd.readouterr()])


def test_a_failed_run_prints_no_text_of_a_post(
    home: Path,
    small: dict[str, Any],
    tmp_path: Path,
    log: LineHandler,
    capfd: pytest.CaptureFixture[str],
) -> None:
    overrides = {**small, **write_marked_posts(tmp_path / "data")}
    replay = replay_expired_batch(tmp_path / "answers.jsonl", overrides)
    with pytest.raises(ConvrecError) as failed:
        pipeline(profile="demo", overrides={**overrides, **replay}, until="adjust")
    texts = [str(failed.value), *map(str, failed.value.rows), *log.lines, *capfd.readouterr()]
    assert MARKER not in "\n".join(texts)
    assert any("outcome=" in line and "completed" not in line for line in log.lines)
