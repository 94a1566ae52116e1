"""The tables of an evaluation in the terminal, and what it shows of a load and of warnings."""

from __future__ import annotations

import logging
import re
from typing import Any

import polars as pl
import pytest
from rich.console import Console
from rich.table import Table

from flows.console import ConsoleListener, set_aside_text, slices_table, systems_table

METRICS = {"sft": {"ndcg@20": 0.3, "recall@5": 0.1}, "knn": {"ndcg@20": 0.4}}


def _text(table: Table) -> str:
    console = Console(width=160)
    with console.capture() as shown:
        console.print(table)
    return shown.get()


def _row(part: str, system: str, value: float, n: int, metric: str = "ndcg@20") -> dict[str, Any]:
    interval = {"low": value - 0.1, "high": value + 0.1}
    return {"slice": part, "system": system, "metric": metric, "value": value, "n": n, **interval}


@pytest.mark.parametrize(
    ("test_set", "title"),
    [
        ({"unit": "posts", "units": {"sft": 1234, "knn": 1234}}, ", intervals over 1,234 posts"),
        (
            {"unit": "dialogues", "units": {"sft": 8, "knn": 90}},
            ", intervals over 8 to 90 dialogues",
        ),
        ({}, ""),
    ],
)
def test_title_has_what_intervals_are_over(test_set: dict[str, Any], title: str) -> None:
    table = systems_table(METRICS, test_set)
    assert table.title == f"test split, protocol `standard`{title}"
    assert "0.300" in _text(table)


def test_slices_of_one_property() -> None:
    rows = [
        _row("named in training: never", "sft", 0.2, 40),
        _row("named in training: never", "sft", 0.9, 40, "recall@20"),
        _row("named in training: over 5 times", "sft", 0.3, 50),
        _row("named in training: over 5 times", "knn", 0.4, 60),
        _row("month: 2022-12", "sft", 0.5, 90),
    ]
    table = slices_table(rows, "named in training")
    assert table is not None
    shown = _text(table)
    assert "never (40)" in shown
    assert "over 5 times (60)" in shown
    assert "0.200 [0.100, 0.300]" in shown
    assert "0.9" not in shown
    assert "2022-12" not in shown
    assert slices_table(rows, "constraint") is None


def test_rows_that_were_set_aside_are_counted_by_reason() -> None:
    entry = {"stage": "ingest", "artifact_id": "x-1"}
    stages = [
        {**entry, "kind": "catalog", "rows": 10},
        {**entry, "kind": "conversations", "rows": 85},
        {**entry, "kind": "quarantine", "rows": 5, "artifact_id": "quarantine-1"},
        {"stage": "adjust", "kind": "demonstrations", "rows": 7, "artifact_id": "d"},
    ]
    reasons = ["empty ground truth", "broken year '195'", "broken year '20x'", "a", "b 7"]
    frame = pl.DataFrame({"reason": reasons})
    assert set_aside_text(stages, frame) == (
        "set aside: 5 of 100 input rows, 2 × broken year …; 1 × a; 1 × b …; 1 more "
        "(`convrec artifacts show quarantine-1`)"
    )
    assert set_aside_text(stages, frame.clear()) == ""
    assert set_aside_text(stages[:2], frame) == ""


@pytest.mark.parametrize(("state", "shown"), [("completed", True), ("cached", False)])
def test_a_load_is_summed_up_once_it_is_made(state: str, shown: bool) -> None:
    asked = []

    def summarize(ids: Any) -> list[str]:
        asked.append(dict(ids))
        return ["conversations: 60 rows read"]

    console = Console(width=160)
    entry = {"stage": "ingest", "state": state, "rows": 1, "seconds": 0.0}
    with console.capture() as text, ConsoleListener(console, summarize=summarize) as listener:
        for kind in ("catalog", "conversations", "quarantine"):
            listener.finished({**entry, "kind": kind, "artifact_id": f"{kind}-1"}, "")
    assert ("  conversations: 60 rows read" in text.get()) == shown
    kinds = ("catalog", "conversations", "quarantine")
    assert asked == ([{kind: f"{kind}-1" for kind in kinds}] if shown else [])


@pytest.mark.parametrize("width", [60, 80])
def test_nothing_is_cut(width: int) -> None:
    text = "12 from the store, 1,188 sent, 0 failed; $0.0312 of about $0.0624; 38/s; 31 s left"
    console = Console(width=width, force_terminal=True, color_system=None)
    with console.capture() as shown, ConsoleListener(console) as listener:
        listener.progress("teacher_lists", 1200, 2400, text)
        listener._bar.refresh()
    letters = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]|\s", "", shown.get())
    assert "…" not in letters
    words = re.sub(r"[━╸╺]+|\d:\d\d:\d\d", "", letters)
    assert "teacherlists:" in words
    assert "31sleft" in words

    parts = ("never", "once", "2 to 10 times", "over 10 times")
    rows = [_row(f"named in training: {part}", "rank_grpo", 0.2, 40) for part in parts]
    table = slices_table(rows, "named in training")
    with console.capture() as shown:
        console.print(table)
    assert "…" not in shown.get()
    assert shown.get().count("0.200") == len(parts)


def test_progress_has_its_count() -> None:
    console = Console(width=40)
    with console.capture() as shown, ConsoleListener(console) as listener:
        listener.progress("teacher_lists", 1200, 2400, "38/s, $0.0312 [so far], 31 s left")
    line = "  teacher lists: 1,200 of 2,400; 38/s, $0.0312 [so far], 31 s left\n"
    assert shown.get() == line


def test_warnings_are_counted() -> None:
    console = Console(width=160)
    with console.capture() as text, ConsoleListener(console) as listener:
        logging.getLogger("convrec.somewhere").warning("[one] thing")
        logging.getLogger("convrec.somewhere").info("nothing")
    assert listener.warnings == 1
    assert text.get() == "warning: [one] thing\n"
