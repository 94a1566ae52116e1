from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.operations.catalog_change.markdown import report_page
from convrec.operations.catalog_change.report import change_report

Lists = dict[str, list[str]]


def demonstrations(store: Store, lists: Lists, number: int) -> str:
    """A demonstrations artifact with these lists by context."""
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
    return demonstrations(store, before, 0), demonstrations(store, after, 1)


def test_each_changed_demonstration_is_named_with_what_changed(
    store: Store, ids: tuple[str, str]
) -> None:
    report = change_report(store, *ids)
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


def test_the_same_set_has_no_change(store: Store, ids: tuple[str, str]) -> None:
    report = change_report(store, ids[0], ids[0])
    assert report.changed.is_empty()
    assert "No item entered or left a list" in report_page(report, "t", "lines.csv")


def test_a_repeated_line_is_compared_copy_by_copy(store: Store) -> None:
    old = demonstrations(store, {"c": ["A", "A", "B"]}, 0)
    new = demonstrations(store, {"c": ["A", "B", "A"]}, 1)
    (row,) = change_report(store, old, new).changed.iter_rows(named=True)
    assert (row["entered"], row["left"], row["moved"]) == ([], [], 2)


def test_the_page_has_the_measures_of_both_and_nothing_that_a_title_could_do(
    store: Store, tmp_path: Path
) -> None:
    old = demonstrations(store, {"c1": ["Heat (1995)"]}, 0)
    new = demonstrations(store, {"c1": ["<script>alert(1)</script> | [x](http://evil)"]}, 1)
    report = change_report(store, old, new)
    page = report_page(report, "catalog demo", "lines.csv")
    assert "| validation NDCG@20, after adjust | 0.5 | 0.6 | +0.1 |" in page
    assert "`c1`" in page
    assert "Heat (1995)" in page
    assert "<script>" not in page
    assert "[x]" not in page
    report.write(tmp_path / "changes" / "lines.csv")
    assert pl.read_csv(tmp_path / "changes" / "lines.csv").height == 2
