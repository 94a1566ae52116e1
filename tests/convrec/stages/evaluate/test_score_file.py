"""`convrec score`: values, bad rows, unusable files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from convrec.cli.score import score
from convrec.config import ROOT, load
from convrec.errors import InputError
from convrec.stages.evaluate.score_file import score_file
from tests.support.loaded_modules import loaded_modules

CATALOG = "title,year\nAlien,1979\nHeat,1995\nBrazil,1985\n"
GOOD: dict[str, Any] = {
    "completion": "Alien (1979)\nNo Such Film (2000)\nBrazil (1985)",
    "seen_titles": ["Heat"],
    "groundtruth_with_release_year": [["Brazil", "1985"]],
}

app = typer.Typer()
app.command()(score)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.csv"
    path.write_text(CATALOG, encoding="utf-8")
    return path


def jsonl(path: Path, *rows: object) -> Path:
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_published_values(shared: Path, tmp_path: Path) -> None:
    lists = shared / "parity" / "metrics_and_rewards.jsonl"
    catalog = shared / "data" / "reddit_v2" / "catalog.csv"
    out = tmp_path / "scored.jsonl"
    done = run(lists, "--catalog", catalog, "--protocol", "reference", "--per-list", out)
    assert done.exit_code == 0, done.output
    for expected, found in zip(read(lists), read(out), strict=True):
        for name, value in found.items():
            if name != "line":
                assert value == pytest.approx(expected[name], abs=1e-9), name


def test_worked_example_under_both_protocols(tmp_path: Path, catalog: Path) -> None:
    lists, out = jsonl(tmp_path / "lists.jsonl", GOOD), tmp_path / "out.jsonl"
    assert run(lists, "--catalog", catalog, "--per-list", out).exit_code == 0
    (row,) = read(out)
    assert row["ndcg@5"] == pytest.approx(0.5)
    assert row["reward_exp_inf"] == [0, 0, 1] + [0] * 17
    assert row["reward_log"] == pytest.approx([0.5, 0.5, 0.5] + [0] * 17)
    run(lists, "--catalog", catalog, "--per-list", out, "--protocol", "reference")
    (row,) = read(out)
    assert row["ndcg@5"] == pytest.approx(0.6309297535714575)
    assert row["reward_exp_inf"] == [0, 0, 1] + [0] * 17


def test_reference_uses_titles_as_written_in_the_file(tmp_path: Path) -> None:
    catalog, out = tmp_path / "catalog.csv", tmp_path / "out.jsonl"
    catalog.write_text("Title,Year\nSchindler's List,1993\nSchindler’s List,1993\nX,201\n")
    row = {
        "completion": "Schindler’s List (1993)",
        "seen_titles": [],
        "groundtruth_with_release_year": [["Schindler’s List", "1993"]],
    }
    lists = jsonl(tmp_path / "lists.jsonl", row)
    done = run(lists, "--catalog", catalog, "--per-list", out, "--protocol", "reference")
    assert read(out)[0]["recall@5"] == 1
    assert f"2 rows of {catalog} skipped" in done.stderr


def test_chat_messages_and_extra_columns(tmp_path: Path, catalog: Path) -> None:
    chat = [
        {"role": "user", "content": "Brazil (1985)"},
        {"role": "assistant", "content": GOOD["completion"]},
    ]
    lists = jsonl(tmp_path / "lists.jsonl", {**GOOD, "completion": chat, "extra": 1}, GOOD)
    out = tmp_path / "out.jsonl"
    run(lists, "--catalog", catalog, "--per-list", out)
    first, second = read(out)
    assert {**first, "line": 2} == second


def test_bad_rows_are_reported_and_skipped(tmp_path: Path, catalog: Path) -> None:
    bad = [
        "not json",
        {"completion": "x"},
        {**GOOD, "completion": 3},
        {**GOOD, "completion": [{"role": "user", "content": "x"}]},
        {**GOOD, "groundtruth_with_release_year": []},
        {**GOOD, "groundtruth_with_release_year": [["Heat", "soon"]]},
        {**GOOD, "seen_titles": "Heat"},
        {**GOOD, "groundtruth_with_release_year": [["Heat", float("inf")]]},
        "[" * 200_000,
        "[1]",
    ]
    lists = jsonl(tmp_path / "lists.jsonl", GOOD, *bad, GOOD)
    out, figures = tmp_path / "out.jsonl", tmp_path / "figures.json"
    done = run(lists, "--catalog", catalog, "--per-list", out, "--json", figures)
    assert done.exit_code == 0
    assert [row["line"] for row in read(out)] == [1, 12]
    for line in range(2, 12):
        assert f"row {line} skipped: " in done.stderr
    assert "10 bad rows skipped, 2 scored" in done.stderr
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert (found["protocol"], found["lists"], len(found["bad_rows"])) == ("standard", 2, 10)
    assert found["metrics"]["ndcg@5"] == pytest.approx(0.5)
    assert found["intervals"]["ndcg@5"] == pytest.approx([0.5, 0.5])


def test_json_on_stdout(tmp_path: Path, catalog: Path) -> None:
    done = run(jsonl(tmp_path / "l.jsonl", GOOD), "--catalog", catalog, "--json", "-")
    assert json.loads(done.stdout)["metrics"]["in_catalog"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"{}\n", "no usable row"),
        (b"\x80\x04\x95", "not UTF-8"),
        (None, "is not a file"),
    ],
)
def test_unusable_file_leaves_no_output(
    tmp_path: Path, catalog: Path, content: bytes | None, message: str
) -> None:
    lists, out = tmp_path / "lists.jsonl", tmp_path / "out.jsonl"
    if content is not None:
        lists.write_bytes(content)
    done = run(lists, "--catalog", catalog, "--per-list", out)
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert not out.exists()
    assert not list(tmp_path.glob(".*"))


def test_command_module_imports_no_library() -> None:
    heavy = ("numpy", "polars", "torch", "rich.progress")
    assert loaded_modules("import convrec.cli.score", *heavy) == set()


def test_profile_sets_line_format_and_columns(tmp_path: Path) -> None:
    lists = tmp_path / "lists.jsonl"
    row = {
        "completion": "Dune\nEmma (1815)\nRebecca",
        "seen_titles": ["Dracula"],
        "groundtruth_with_release_year": [["Rebecca", "1938"]],
    }
    lists.write_text(json.dumps(row))
    books = load("demo-books")
    scored = score_file(lists, ROOT / "catalog" / "demo-books.csv", config=books)
    assert scored.metrics["recall@5"].value == 1
    assert scored.metrics["format"].value == 1
    assert scored.metrics["in_catalog"].value == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="use --protocol standard"):
        score_file(lists, ROOT / "catalog" / "demo-books.csv", protocol="reference", config=books)


def test_per_label(tmp_path: Path) -> None:
    lists, out = tmp_path / "lists.jsonl", tmp_path / "scored.jsonl"
    rows = [
        {
            "completion": "1. Heat (1995)\n2. Aliem (1979)",
            "seen_titles": ["Heat (1995)"],
            "groundtruth_with_release_year": [["Alien", 1979], ["Brazil", 1985]],
        },
        {
            "completion": "Heat (1995)",
            "seen_titles": ["Heat (1995)"],
            "groundtruth_with_release_year": [["Heat", 1995]],
        },
    ]
    lists.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    catalog = tmp_path / "catalog.csv"
    catalog.write_text("title,year\nHeat,1995\nAlien,1979\nBrazil,1985\n", encoding="utf-8")
    found = score_file(lists, catalog, protocol="per-label", per_list=out)
    assert (found.lists, found.cases) == (2, 2)
    assert found.metrics["recall@5"].value == found.metrics["mrr@5"].value == 0.5
    first, second = read(out)
    assert (first["pairs"], first["ndcg@5"], second["pairs"], second["ndcg@5"]) == (2, 0.5, 0, None)
    lists.write_text(json.dumps(rows[1]), encoding="utf-8")
    with pytest.raises(InputError, match="mentioned already"):
        score_file(lists, catalog, protocol="per-label")


@pytest.mark.parametrize(
    "signs",
    [
        {"completion": "He\u200bat (1995)"},
        {"completion": "Heat (1995)\u200b"},
        {"completion": "\ufeffHeat (1995)"},
        {"completion": "Heat\uff081995\uff09"},
        {"completion": "\u300aHeat\u300b (1995)"},
        {"completion": "Heat%20(1995)"},
        {"completion": "He&shy;at (1995)"},
        {"groundtruth_with_release_year": [["He\u200bat", 1995]]},
        {"groundtruth_with_release_year": [["Heat", "1995.0"]]},
        {"groundtruth_with_release_year": [["Heat", " 1995 "]]},
        {"groundtruth_with_release_year": [["Heat", "(1995)"]]},
        {"groundtruth_with_release_year": [["Heat", 1995.0]]},
        {"groundtruth_with_release_year": [["\u300cHeat\u300d", 1995]]},
    ],
)
def test_signs_nobody_sees_and_forms_of_years_are_equal(
    signs: dict[str, Any], tmp_path: Path
) -> None:
    catalog = tmp_path / "catalog.csv"
    catalog.write_text("title,year\n\u200bHe\u00adat,1995\nAlien,1979\n", encoding="utf-8")
    row = {
        "completion": "Heat (1995)",
        "seen_titles": [],
        "groundtruth_with_release_year": [["Heat", 1995]],
    }
    lists = jsonl(tmp_path / "lists.jsonl", row | signs)
    metrics = score_file(lists, catalog, resamples=10).metrics
    assert metrics["recall@5"].value == 1
    assert metrics["in_catalog"].value == 1


@pytest.mark.parametrize(
    "seen", ["He\u200bat (1995)", "Heat\uff081995\uff09", ["He\u200bat", "1995.0"]]
)
def test_seen_titles_with_such_signs_are_seen(seen: Any, tmp_path: Path, catalog: Path) -> None:
    lists = jsonl(
        tmp_path / "lists.jsonl", GOOD | {"completion": "Heat (1995)", "seen_titles": [seen]}
    )
    assert score_file(lists, catalog, resamples=10).metrics["seen"].value == 1


def test_lines_that_are_items_but_for_a_number_are_counted(tmp_path: Path) -> None:
    catalog, lists = tmp_path / "catalog.csv", tmp_path / "lists.jsonl"
    catalog.write_text("title,year\nHeat,1995\n12. Angry Men,1957\n", encoding="utf-8")
    text = "1. Heat (1995)\n12. Angry Men (1957)\n- Heat (1995)\n2. Nothing (2001)\nHeat (1995)"
    row = {
        "completion": text,
        "seen_titles": [],
        "groundtruth_with_release_year": [["Heat", 1995]],
    }
    lists.write_text(json.dumps(row) + "\n", encoding="utf-8")
    result = score_file(lists, catalog)
    assert (result.marked_lines, result.marked_example) == (2, "1. Heat (1995)")
    said = run(lists, "--catalog", catalog)
    assert "2 lines, such as '1. Heat (1995)', name items" in said.stderr
