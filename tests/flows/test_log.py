"""The log has a line an event, with the ids in it, and no word of a post."""

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
from tests.flows.conftest import late

MARKER = "xyzzyplugh"


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter().format(record))


@pytest.fixture
def log() -> Iterator[Kept]:
    kept = Kept()
    loggers = [logging.getLogger(name) for name in ("", "prefect", "convrec")]
    for logger in loggers:
        logger.addHandler(kept)
    yield kept
    for logger in loggers:
        logger.removeHandler(kept)


def data(folder: Path) -> dict[str, Any]:
    """The demo's posts, each with the marker, as a user's own files; some rows are broken."""
    rows = generate_rows(7, {"train": 12, "validation": 3, "test": 3})
    for row in rows:
        if isinstance(row, dict):
            row["prompt"][0]["content"] += f" {MARKER}"
    folder.mkdir()
    lines = (json.dumps(row) for row in [*rows, {"prompt": MARKER}, MARKER])
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return {"ingest.format": "reddit-v2", "ingest.path": str(folder)}


def test_a_run_logs_a_line_an_event_and_no_word_of_a_post(
    home: Path, small: dict[str, Any], tmp_path: Path, log: Kept, capfd: pytest.CaptureFixture[str]
) -> None:
    overrides = {**small, **data(tmp_path / "data")}
    summary = pipeline(profile="demo", overrides=overrides, until="sft")
    run = f"run={summary['flow_run_id']}"
    ours = [line for line in log.lines if run in line]
    for entry in summary["stages"]:
        if artifact := entry["artifact_id"]:
            told = {line for line in ours if f"artifact={artifact} " in line}
            assert len(told) == 1
            assert f"rows={entry['rows']}" in told.pop()
    assert any("run started" in line for line in ours)
    assert any("outcome=completed" in line for line in ours)
    assert not any("\n" in line for line in ours)
    shown = "\n".join([*log.lines, *capfd.readouterr()])
    assert MARKER not in shown


def test_a_run_that_fails_says_no_word_of_a_post(
    home: Path, small: dict[str, Any], tmp_path: Path, log: Kept, capfd: pytest.CaptureFixture[str]
) -> None:
    overrides = {**small, **data(tmp_path / "data")}
    replay = late(tmp_path / "answers.jsonl", overrides)
    with pytest.raises(ConvrecError) as failed:
        pipeline(profile="demo", overrides={**overrides, **replay}, until="adjust")
    texts = [str(failed.value), *map(str, failed.value.rows), *log.lines, *capfd.readouterr()]
    assert MARKER not in "\n".join(texts)
    assert any("outcome=" in line and "completed" not in line for line in log.lines)
