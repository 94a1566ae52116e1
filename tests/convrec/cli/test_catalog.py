from __future__ import annotations

import csv
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from convrec.artifacts import Store
from convrec.catalog.load import load_catalog
from convrec.catalog.publish import publish_catalog
from convrec.cli.catalog import app
from convrec.config import ROOT
from convrec.errors import CatalogError
from tests.support.catalogs import write_edited_catalog
from tests.support.loaded_modules import loaded_modules

pytestmark = pytest.mark.on_ducklake


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.csv"
    path.write_text("title,year\nThe Big Sick,2017\nAmélie,2001\n[b]Up,201\n", encoding="utf-8")
    return path


def test_check_shows_rows_and_reasons(catalog: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(catalog)])
    assert result.exit_code == 0
    assert "broken year" in result.output
    assert "[b]Up" in result.output


def test_check_writes_json(catalog: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(catalog), "--json", "-"])
    figures = json.loads(result.output)
    assert (figures["items"], figures["with_year"], len(figures["quarantined"])) == (2, 2, 1)


def test_check_counts_decoded_titles(tmp_path: Path) -> None:
    file = tmp_path / "escaped.csv"
    titles = ["%22Crocodile%22 Dundee,1986", "Tom &amp; Jerry,1992", "100% Wolf,2020", "&amp;,x"]
    file.write_text("\n".join(["title,year", *titles]), encoding="utf-8")
    shown = CliRunner().invoke(app, ["check", str(file)]).output
    assert "3 items, 1 rows in quarantine" in shown
    assert "titles with URL escapes, HTML entities or invisible characters: 2;" in shown
    items = load_catalog(file)[0]
    assert items["title"].to_list() == ['"Crocodile" Dundee', "Tom & Jerry", "100% Wolf"]


def test_link_writes_a_row_per_line_in_order(catalog: Path) -> None:
    lines = "Amelie (2001)\n\nThe Big Short\r\nThe Big Sick\n"
    result = CliRunner().invoke(app, ["link", "--catalog", str(catalog)], input=lines)
    assert result.output.splitlines() == [
        "query,item_id,title,year,score",
        "Amelie (2001),Amélie (2001),Amélie,2001,98.0",
        ",,,,",
        "The Big Short,,,,",
        "The Big Sick,The Big Sick (2017),The Big Sick,2017,100.0",
    ]


def test_link_writes_the_method_to_json(catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "links.json"
    args = ["link", "--catalog", str(catalog), "--json", str(out)]
    assert CliRunner().invoke(app, args, input="Amelie").exit_code == 0
    assert json.loads(out.read_text())["links"][0]["method"] == "normalized"


def test_link_explain_adds_method_runner_up_and_note(tmp_path: Path) -> None:
    path, out = tmp_path / "dunes.csv", tmp_path / "links.json"
    path.write_text("title,year\nDune,1984\nDune,2021\n", encoding="utf-8")
    args = ["link", "--catalog", str(path), "--json", str(out)]
    result = CliRunner().invoke(app, [*args, "--explain"], input="Dune (2021)\nHeat\n")
    assert result.output.splitlines() == [
        "query,item_id,title,year,score,method,runner_up,runner_up_score,note",
        "Dune (2021),Dune (2021),Dune,2021,100.0,exact,Dune (1984),26.0,",
        "Heat,,,,,,,,",
    ]
    assert json.loads(out.read_text())["links"][0]["runner_up"] == "Dune (1984)"
    plain = CliRunner().invoke(app, args, input="Dune (2021)\n")
    assert plain.output.splitlines()[0] == "query,item_id,title,year,score"


def test_link_accepts_hostile_lines(catalog: Path) -> None:
    lines = b"\x00\nAm\xe9lie\n\xed\xa0\x80\n" + b"(" * 100_000 + b'\n"a,b\rc\nAm\xc3\xa9lie\n'
    result = CliRunner().invoke(app, ["link", "--catalog", str(catalog)], input=lines)
    assert result.exit_code == 0
    rows = list(csv.reader(io.StringIO(result.output.replace("\x00", ""), newline="")))
    assert [row[1:3] for row in rows[1:]] == [["", ""]] * 5 + [["Amélie (2001)", "Amélie"]]


def test_link_needs_standard_input(catalog: Path) -> None:
    command = [sys.executable, "-m", "flows.cli", "catalog", "link", "--catalog", str(catalog)]
    done = subprocess.run(
        ["sh", "-c", f"{shlex.join(command)} <&-"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("convrec: standard input is closed")
    assert done.stderr.count("\n") == 1


def test_diff_counts(catalog: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    new.write_text("title,year\nAmélie,2001\nHeat,1995\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["diff", str(catalog), str(new), "--json", "-"])
    changes = json.loads(result.output)
    assert [item["title"] for item in changes["added"]] == ["Heat"]
    assert [item["title"] for item in changes["removed"]] == ["The Big Sick"]
    assert "1 added" in CliRunner().invoke(app, ["diff", str(catalog), str(new)]).output


def test_a_missing_catalog_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(tmp_path / "none.csv")])
    assert isinstance(result.exception, CatalogError)


def test_the_module_imports_no_heavy_library() -> None:
    assert loaded_modules("import convrec.cli.catalog", "polars", "rapidfuzz", "numpy") == set()


def test_a_profile_maps_the_columns_of_a_file() -> None:
    books = str(ROOT / "catalog" / "demo-books.csv")
    profile = ["--profile", "demo-books"]
    result = CliRunner().invoke(app, ["check", books, *profile, "--json", "-"])
    assert json.loads(result.output)["items"] == 150
    assert "0 renamed" in CliRunner().invoke(app, ["diff", books, books, *profile]).output
    result = CliRunner().invoke(
        app, ["link", "--catalog", books, *profile], input="the dune\n1984\n"
    )
    assert "Nineteen Eighty-Four" in result.output
    assert isinstance(CliRunner().invoke(app, ["check", books]).exception, CatalogError)


def test_versions_and_changes_are_listed(store: Store, tmp_path: Path) -> None:
    publish_catalog(write_edited_catalog(tmp_path / "new.csv"), "demo", store)

    def output(*arguments: str) -> Any:
        result = CliRunner().invoke(app, ["versions", *arguments], catch_exceptions=False)
        assert result.exit_code == 0
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    versions = [(row["name"], row["version"]) for row in output("demo", "--json", "-")]
    assert versions == [("demo", 1), ("demo", 2)]
    assert output("other", "--json", "-") == []
    assert "`convrec catalog publish FILE --name other`" in output("other")
    changes = output("demo@2", "--json", "-")
    assert sorted(row["change"] for row in changes) == ["added", "removed", "renamed"]
    assert "2 versions" in output()
    assert "3 changes of demo@2" in output("demo@2")
