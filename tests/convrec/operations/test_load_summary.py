"""What a load says: rows by input and reason, and titles that the catalog lacks."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from convrec.artifacts import Store
from convrec.config import load
from convrec.operations.load_summary import (
    coverage_lines,
    ground_truth_coverage,
    preview_rows,
    reason_counts,
    summary_lines,
)
from convrec.operations.local_run import LocalRun


def test_a_load_is_summed_up_by_input_and_reason(store: Store, tmp_path: Path) -> None:
    (tmp_path / "catalog.csv").write_text("title,year\nAzul,2017\nGo,\n,1990\nAzul,2017\n")
    good = [f"Games for {number}?,Azul (2017);Katan" for number in range(9)]
    bad = ["Bad date,Azul,May", "Bad date,Azul,June", "None liked,,"]
    rows = ["conversation,ground_truth,date", *(f"{row},2024-05-01" for row in good), *bad]
    (tmp_path / "games.csv").write_text("\n".join(rows))
    config = load(
        "reddit-v2", {"ingest.format": "table", "ingest.path": str(tmp_path / "games.csv")}
    )
    run = LocalRun(config, store)
    run.run(until="ingest")
    ids = {kind: ref.artifact_id for kind, ref in run.refs.items()}
    first, *lines = summary_lines(store, ids)
    assert first.startswith("conversations: 12 rows read, 3 set aside, 9 kept; different ones: ")
    assert lines == [
        "  2 × date … is neither a date such as …-…-… nor seconds since … (first in line 11)",
        "  1 × no ground_truth (line 13)",
        "catalog: 4 rows read, 2 set aside, 2 kept",
        "  1 × no title (line 4)",
        "  1 × repeats the title and year of line 2 (line 5)",
    ]
    catalog, conversations = (store.read(ids[kind]) for kind in ("catalog", "conversations"))
    assert coverage_lines(ground_truth_coverage(catalog, conversations)) == [
        "ground truth: 1 of 2 titles are in the catalog",
        "  not in the catalog, most often: Katan (9)",
        "  no list can name them; add them, or their spelling as an alias",
    ]
    (row,) = preview_rows(conversations, count=1)
    assert row[1:] == ("Games for 0?", "Azul (2017); Katan", "")


def test_reasons_that_differ_in_a_value_are_one() -> None:
    reasons = ["broken year '195'", "broken year '20x'", "no title"]
    counts = reason_counts(pl.DataFrame({"reason": reasons}))
    assert counts == [("broken year …", 2), ("no title", 1)]
