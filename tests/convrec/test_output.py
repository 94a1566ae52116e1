from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from convrec.errors import InputError
from convrec.output import JsonFile, write_json


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
