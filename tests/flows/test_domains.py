"""Another domain through all stages: books, without years, with other catalog columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convrec.artifacts import Store
from convrec.config import STAGES
from convrec.serving.recommend import recommend
from flows.pipeline import pipeline


def test_books_go_through_all_stages(home: Path, small: dict[str, Any]) -> None:
    summary = pipeline(profile="demo-books", overrides=small)
    assert {entry["stage"] for entry in summary["stages"] if entry["state"] == "completed"} == set(
        STAGES
    )
    store = Store(home)
    ids = {entry["kind"]: entry["artifact_id"] for entry in summary["stages"]}
    titles = set(store.read(ids["catalog"])["title"])
    completions = store.read(ids["demonstrations"])["completion"].to_list()
    assert len(completions) == 34
    assert {line for text in completions for line in text.split("\n")} <= titles
    assert summary["metrics"]["adjusted"]["in_catalog"] == 1
    assert summary["metrics"]["teacher"]["format"] == 1
    assert set(store.read(ids["metrics"])["protocol"]) == {"standard", "per-label"}
    lines = recommend(store, ids["checkpoint"], "I loved Dune.").items
    assert len(lines) == 5
    assert set(lines) <= titles - {"Dune"}
