from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.catalog.diff import diff_catalogs
from convrec.operations.catalog_change.fit_age import fit_age
from convrec.operations.catalog_change.ground_truth import lost_ground_truths
from convrec.operations.catalog_change.markdown import render_report
from convrec.operations.catalog_change.report import compare_demonstrations
from convrec.titles.line_format import DEFAULT_FORMAT

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
    page = render_report(report, "t", "lines.csv", DEFAULT_FORMAT)
    assert "**0 of 4 lists changed**." in page
    assert "### Figures that changed\n\nNone." in page
    assert "lines.csv" not in page


def item(item_id: str, title: str, text: str = "") -> dict[str, Any]:
    fields = {"item_id": item_id, "title": title, "year": 1990, "text": text}
    return {**fields, "aliases": [], "genres": []}


def test_changes_are_traced_to_edited_items(store: Store, ids: tuple[str, str]) -> None:
    before = pl.DataFrame([item("A", "Ant"), item("B", "Bee"), item("C", "Cat")])
    after = pl.DataFrame([item("A", "Ant"), item("C", "Cat", "a film"), item("D", "Dog")])
    report = compare_demonstrations(store, *ids, diff_catalogs(before, after))
    assert report.edits.rows() == [
        ("Bee", 1990, "removed", None, None, 3, 0, 2),
        ("Dog", 1990, "added", None, None, 0, 1, 1),
        ("Cat", 1990, "changed", None, None, 1, 1, 1),
    ]
    assert report.explained == 2  # `turned` and `other`
    assert list(report.kinds.values()) == [1, 1, 1, 1]
    assert sorted(report.moves) == [1, 1, 1]
    assert (report.new_train_lines, report.train_lines) == (2, 8)
    page = render_report(report, "t", "lines.csv", DEFAULT_FORMAT)
    assert "- **4 of 5 lists changed**: 2 name an edited item, before or now; in 2, a title" in page
    verdict = "**Train again soon**: 25.0% of the lines to train on are new (2 of 8;"
    assert page.split("\n\n")[1].startswith(verdict)
    assert "### Edited items: 1 added, 1 changed, 1 removed" in page
    assert page.index("| Bee (1990) | removed | 3 → 0 | 2 |") < page.index("### Details")
    assert "`lines.csv` has each of their lines" in page


def test_a_renamed_item_is_shown_with_its_old_title(store: Store) -> None:
    old = store_demonstrations(store, {"c": ["Ant (1990)", "Cow (1990)"]}, 0)
    new = store_demonstrations(store, {"c": ["Ants (1990)", "Dog (1990)"]}, 1)
    before, after = ([item("1", title), item("2", "Bee")] for title in ("Ant", "Ants"))
    diff = diff_catalogs(pl.DataFrame(before), pl.DataFrame(after))
    page = render_report(
        compare_demonstrations(store, old, new, diff), "t", "lines.csv", DEFAULT_FORMAT
    )
    assert "| Ants (1990) | renamed, was Ant (1990) |" in page
    others = page[page.index("### Other items") :]
    assert "| Cow (1990) | 0 | 1 |" in others
    assert "| Dog (1990) | 1 | 0 |" in others
    assert "Ant" not in others


@pytest.mark.parametrize(
    ("unfitted", "gain", "due"),
    [(2, 0.1, False), (3, 0.1, True), (0, -0.1, True), (0, None, False)],
)
def test_a_new_fit_is_due_for_many_items_or_a_loss(
    store: Store, ids: tuple[str, str], unfitted: int, gain: float | None, due: bool
) -> None:
    items = [str(i) for i in range(20)]
    catalog = ArtifactSpec("catalog", "ingest", 1, {"unfitted": unfitted})
    fit = ArtifactSpec("adjustment", "adjust", 1, {"unfitted": unfitted})
    lists = ArtifactSpec("demonstrations", "adjust", 1, {"gain": gain})
    fitted = pl.DataFrame({"item_id": items[unfitted:], "weight": 1.0, "bias": 0.0})
    rows = pl.DataFrame([item(i, i) for i in items])
    figures = {"validation NDCG@20 before": 0.5, "validation NDCG@20 after": 0.5 + (gain or 0)}
    refs = {
        "catalog": store.put(catalog, StepResult(rows)),
        "adjustment": store.put(fit, StepResult(fitted, {"samples": 1234})),
        "demonstrations": store.put(
            lists, StepResult(store.read(ids[0]), {} if gain is None else figures)
        ),
    }
    age = fit_age(store, refs)
    assert age is not None
    assert (age.items, age.unfitted, age.samples, age.is_due) == (20, unfitted, 1234, due)
    assert age.gain == (None if gain is None else pytest.approx(gain))
    page = render_report(compare_demonstrations(store, *ids), "t", "p", DEFAULT_FORMAT, age)
    assert f"{unfitted} of 20 items have no w and b yet" in page
    assert ("**A new fit of Adjust is due**" in page) == due
    assert fit_age(store, {}) is None


def test_ground_truths_out_of_reach_are_counted(store: Store, ids: tuple[str, str]) -> None:
    def truth(*titles: str) -> list[dict[str, Any]]:
        return [{"title": title, "year": 1990} for title in titles]

    rows = [
        ("a", "test", truth("Ant", "Bee")),
        ("b", "validation", truth("Bee")),
        ("c", "test", truth("Ant")),
        ("d", "test", truth("Emu")),
        ("e", "train", truth("Bee")),
    ]
    conversations = pl.DataFrame(
        rows, ["sample_id", "split", "ground_truth"], orient="row"
    ).with_columns(
        context_id="sample_id",
        created_utc=None,
        conversation=pl.lit("x"),
        prompt=pl.lit("x"),
        seen=pl.lit([], dtype=pl.List(pl.Struct({"title": pl.String, "year": pl.Int32}))),
        completion=pl.lit(""),
    )
    names = [
        store.put(ArtifactSpec(kind, "ingest", 1, {"n": number}), StepResult(frame)).artifact_id
        for number, (kind, frame) in enumerate(
            [
                ("conversations", conversations),
                ("catalog", pl.DataFrame([item("A", "Ant"), item("B", "Bee")])),
                ("catalog", pl.DataFrame([item("A", "Ant"), item("B", "Bees")])),
            ]
        )
    ]
    truths = lost_ground_truths(store, *names)
    assert (truths.samples, truths.reduced, truths.lost) == (3, 2, 1)
    report = compare_demonstrations(store, *ids)
    page = render_report(report, "t", "p", DEFAULT_FORMAT, truths=truths)
    sentence = (
        "**1 of 3 samples of validation and test have no ground truth within reach now**; 1 more"
    )
    assert f"- {sentence} lose a part" in page
    kept = render_report(report, "t", "p", DEFAULT_FORMAT, truths=replace(truths, lost=0))
    assert "- **No sample loses its whole ground truth**; 2 of 3 samples" in kept
    none = render_report(
        report, "t", "p", DEFAULT_FORMAT, truths=replace(truths, lost=0, reduced=0)
    )
    assert "- **No ground truth is out of reach**, of 3 samples" in none


def test_a_repeated_line_is_compared_copy_by_copy(store: Store) -> None:
    old = store_demonstrations(store, {"c": ["A", "A", "B"]}, 0)
    new = store_demonstrations(store, {"c": ["A", "B", "A"]}, 1)
    (row,) = compare_demonstrations(store, old, new).changed.iter_rows(named=True)
    assert (row["entered"], row["left"], row["moved"]) == ([], [], 2)


def test_the_page_shows_both_figures_and_escapes_titles(store: Store, tmp_path: Path) -> None:
    old = store_demonstrations(store, {"c1": ["Heat (1995)"]}, 0)
    new = store_demonstrations(store, {"c1": ["<script>alert(1)</script> | [x](http://evil)"]}, 1)
    report = compare_demonstrations(store, old, new)
    page = render_report(report, "catalog demo", "lines.csv", DEFAULT_FORMAT)
    assert "| validation NDCG@20, after adjust | 0.5 | 0.6 | +0.1 |" in page
    assert "Heat (1995)" in page
    assert "<script>" not in page
    assert "[x]" not in page
    report.write_lines(tmp_path / "changes" / "lines.csv")
    assert pl.read_csv(tmp_path / "changes" / "lines.csv").height == 2
