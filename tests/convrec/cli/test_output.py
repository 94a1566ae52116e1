from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
import typer
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from convrec.cli.output import JsonFile, fold_cells, write_json
from convrec.errors import InputError


@pytest.mark.parametrize("place", [".", "missing/figures.json"])
def test_a_place_that_takes_no_json_is_refused_before_the_work(tmp_path: Path, place: str) -> None:
    app, begun = typer.Typer(), []

    @app.command()
    def work(json_file: JsonFile = None) -> None:
        begun.append(json_file)

    told = CliRunner().invoke(app, ["--json", str(tmp_path / place)])
    assert isinstance(told.exception, InputError)
    assert "give --json a path in a folder that can" in str(told.exception)
    assert not begun
    assert CliRunner().invoke(app, ["--json", str(tmp_path / "figures.json")]).exit_code == 0
    assert CliRunner().invoke(app, ["--json", "-"]).exit_code == 0
    assert begun == [tmp_path / "figures.json", Path("-")]


def test_what_cannot_be_written_later_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_json({}, tmp_path / "missing" / "figures.json")


def test_a_narrow_terminal_folds_cells_and_cuts_none() -> None:
    text = "similarity_basis-f2075245bde46a18c657"
    table = Table("a", "b", "c")
    table.add_row(text, text, text)
    narrow = Console(width=40, file=io.StringIO())
    narrow.print(fold_cells(table))
    said = narrow.file.getvalue()
    assert "…" not in said
    assert Counter(said) >= Counter(text * 3)
