from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
import typer
from rich.console import Console
from rich.table import Table
from rich.tree import Tree
from typer.testing import CliRunner

from convrec.cli.output import JsonFile, console, fold_cells, write_json
from convrec.errors import InputError


@pytest.mark.parametrize("path", [".", "missing/figures.json"])
def test_an_unusable_json_path_is_refused_before_the_work(tmp_path: Path, path: str) -> None:
    app, started = typer.Typer(), []

    @app.command()
    def work(json_file: JsonFile = None) -> None:
        started.append(json_file)

    result = CliRunner().invoke(app, ["--json", str(tmp_path / path)])
    assert isinstance(result.exception, InputError)
    assert "give --json a path in a folder that can" in str(result.exception)
    assert not started
    assert CliRunner().invoke(app, ["--json", str(tmp_path / "figures.json")]).exit_code == 0
    assert CliRunner().invoke(app, ["--json", "-"]).exit_code == 0
    assert started == [tmp_path / "figures.json", Path("-")]


def test_a_failed_json_write_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_json({}, tmp_path / "missing" / "figures.json")


def test_a_narrow_terminal_wraps_cells() -> None:
    text = "similarity_basis-f2075245bde46a18c657"
    table = Table("a", "b", "c")
    table.add_row(text, text, text)
    narrow = Console(width=40, file=io.StringIO())
    narrow.print(fold_cells(table))
    output = narrow.file.getvalue()
    assert "…" not in output
    assert Counter(output) >= Counter(text * 3)


@pytest.mark.parametrize(
    "text", ["[REC]", "[/b] a", "[bold]x[/bold]", ":heart:", "[link=x]", "\\[x]"]
)
@pytest.mark.parametrize("stderr", [False, True])
def test_brackets_in_data_are_shown(
    capsys: pytest.CaptureFixture[str], text: str, stderr: bool
) -> None:
    out = console(stderr=stderr)
    table, tree = Table(text, title=text), Tree(text)
    table.add_row(text)
    for shown in (text, table, tree):
        out.print(shown)
    assert capsys.readouterr()[stderr].count(text) == 5  # text, title, column, cell, root
