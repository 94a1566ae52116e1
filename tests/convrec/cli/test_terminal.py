"""Commands on terminals without Unicode, and with a reader that stops reading."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "flows.cli"]
CATALOG = "title,year,genres\nAmélie,2001,Comedy\nМосква,1980,Drama\n千と千尋の神隠し,2001,\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "catalog.csv").write_text(f"{CATALOG}“Bröken”,201,\n", encoding="utf-8")
    (tmp_path / "new.csv").write_text("title,year\nŁódź,1999\n", encoding="utf-8")
    row = {
        "completion": "Amélie (2001)",
        "seen_titles": [],
        "groundtruth_with_release_year": [["Amélie", "2001.0"]],
    }
    (tmp_path / "lists.jsonl").write_text(json.dumps(row), encoding="utf-8")
    return tmp_path


ASCII = {"PYTHONIOENCODING": "ascii"}
POSIX = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NARROW = {"PYTHONIOENCODING": "latin-1", "COLUMNS": "20"}


def run(
    folder: Path, arguments: list[str], environment: dict[str, str], text: str = ""
) -> subprocess.CompletedProcess[bytes]:
    names = ("PYTHONIOENCODING", "LC_ALL", "LANG", "PYTHONUTF8")
    env = {name: value for name, value in os.environ.items() if name not in names}
    env |= {"CONVREC_HOME": str(folder / "home"), **environment}
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=env, input=text.encode(), capture_output=True,
        check=False,
    )  # fmt: skip


CHECK = ["catalog", "check", "catalog.csv"]
COMMANDS = [
    (CHECK, 0),
    (["catalog", "diff", "catalog.csv", "new.csv"], 0),
    (["catalog", "link", "--catalog", "catalog.csv"], 0),
    (["score", "lists.jsonl", "--catalog", "catalog.csv"], 0),
    (["catalog", "check", "kein-Café.csv"], 2),
    (["artifacts", "list"], 0),
    (["--help"], 0),
    (["catalog", "nö"], 2),
]


CASES = [(ASCII, *command) for command in COMMANDS] + [(POSIX, CHECK, 0), (NARROW, CHECK, 0)]


@pytest.mark.parametrize(("environment", "arguments", "code"), CASES)
def test_no_character_fails(
    folder: Path, environment: dict[str, str], arguments: list[str], code: int
) -> None:
    done = run(folder, arguments, environment, text="Amélie\n千と千尋の神隠し\n")
    assert done.returncode == code, done.stderr.decode(errors="replace")
    assert b"Traceback" not in done.stderr
    assert b"UnicodeEncodeError" not in done.stderr
    assert done.stdout or done.stderr


@pytest.mark.parametrize("environment", [ASCII, POSIX, NARROW, {}])
def test_linked_titles_stay_text_without_unicode(folder: Path, environment: dict[str, str]) -> None:
    link = ["catalog", "link", "--catalog", "catalog.csv"]
    done = run(folder, link, environment, text="Amélie\n千と千尋の神隠し\n")
    titles = [line.split(",")[2] for line in done.stdout.decode("utf-8").splitlines()]
    assert titles == ["title", "Amélie", "千と千尋の神隠し"]


def test_json_stays_json_without_unicode(folder: Path) -> None:
    done = run(folder, ["catalog", "check", "catalog.csv", "--json", "-"], ASCII)
    assert done.stdout.isascii()
    assert "“Bröken”,201" in json.loads(done.stdout)["quarantined"][0]["raw"]
    done = run(folder, ["catalog", "check", "catalog.csv", "--json", "-"], {})
    assert "“Bröken”,201" in done.stdout.decode()


def test_an_error_handler_of_the_user_stays(folder: Path) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii:replace"}
    done = run(folder, ["catalog", "link", "--catalog", "catalog.csv"], ascii_only, "Amélie")
    assert b"Am?lie,Am?lie (2001)" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["catalog", "check", "catalog.csv"],
        ["catalog", "check", "catalog.csv", "--json", "-"],
        ["catalog", "link", "--catalog", "catalog.csv"],
        ["--help"],
    ],
)
def test_a_closed_pipe_is_no_error(folder: Path, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=folder, stdout=writing, stderr=subprocess.PIPE,
            input=b"Am\n", check=False, env={**os.environ, "CONVREC_HOME": str(folder / "home")},
        )  # fmt: skip
    finally:
        os.close(writing)
    assert done.stderr == b""
