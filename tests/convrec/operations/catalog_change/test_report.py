from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.operations.catalog_change.markdown import render_report
from convrec.operations.catalog_change.report import compare_demonstrations

Lists = dict[str, list[str]]


def store_demonstrations(store: Store, lists: Lists, number: int) -> str:
    """Store a demonstrations artifact with one list per context."""
    rows = pl.DataFrame(
        {
            "context_id": list(lists),
            "sample_id": [None] * len(lists),
            "split": ["train"] * len(lists),
            "items": list(lists.values()),
            "completion": ["\n".join(lines) for lines in lists.values()],
        },
        schema_overrides={"sample_id": pl.String},
    )
    spec = ArtifactSpec("demonstrations", "adjust", 1, {"n": number})
    figures = {"lists": len(lists), "validation NDCG@20 after": 0.5 + number / 10}
    return store.put(spec, StepResult(rows, figures)).artifact_id


@pytest.fixture
def ids(store: Store) -> tuple[str, str]:
    before = {"same": ["A", "B"], "turned": ["A", "B"], "other": ["A", "B", "C"], "gone": ["A"]}
    after = {"same": ["A", "B"], "turned": ["B", "A"], "other": ["D", "A", "C"], "new": ["A"]}
    return store_demonstrations(store, before, 0), store_demonstrations(store, after, 1)


def test_each_changed_demonstration_is_reported(store: Store, ids: tuple[str, str]) -> None:
    report = compare_demonstrations(store, *ids)
    assert (report.total, report.changed.height, report.reordered) == (5, 4, 1)
    changed = {row["context_id"]: row for row in report.changed.iter_rows(named=True)}
    assert set(changed) == {"turned", "other", "gone", "new"}
    assert changed["other"]["entered"] == ["D"]
    assert changed["other"]["left"] == ["B"]
    assert changed["other"]["moved"] == 1  # A from 1 to 2; C stays
    assert changed["turned"]["moved"] == 2
    assert changed["gone"]["left"] == changed["new"]["entered"] == ["A"]
    lines = report.lines.filter(pl.col("context_id") == "other")
    assert lines.select("item", "rank_before", "rank_after").rows() == [
        ("D", None, 1),
        ("A", 1, 2),
        ("C", 3, 3),
        ("B", 2, None),
    ]


def test_equal_demonstrations_have_no_change(store: Store, ids: tuple[str, str]) -> None:
    report = compare_demonstrations(store, ids[0], ids[0])
    assert report.changed.is_empty()
    assert "No item entered or left a list" in render_report(report, "t", "lines.csv")


def test_a_repeated_line_is_compared_copy_by_copy(store: Store) -> None:
    old = store_demonstrations(store, {"c": ["A", "A", "B"]}, 0)
    new = store_demonstrations(store, {"c": ["A", "B", "A"]}, 1)
    (row,) = compare_demonstrations(store, old, new).changed.iter_rows(named=True)
    assert (row["entered"], row["left"], row["moved"]) == ([], [], 2)


def test_the_page_shows_both_figures_and_escapes_titles(store: Store, tmp_path: Path) -> None:
    old = store_demonstrations(store, {"c1": ["Heat (1995)"]}, 0)
    new = store_demonstrations(store, {"c1": ["<script>alert(1)</script> | [x](http://evil)"]}, 1)
    report = compare_demonstrations(store, old, new)
    page = render_report(report, "catalog demo", "lines.csv")
    assert "| validation NDCG@20, after adjust | 0.5 | 0.6 | +0.1 |" in page
    assert "`c1`" in page
    assert "Heat (1995)" in page
    assert "<script>" not in page
    assert "[x]" not in page
    report.write_lines(tmp_path / "changes" / "lines.csv")
    assert pl.read_csv(tmp_path / "changes" / "lines.csv").height == 2
