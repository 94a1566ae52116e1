"""`convrec init` on made-up conversations about board games."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from convrec.artifacts import Store
from convrec.cli.init import init
from convrec.config import home, load
from convrec.errors import InputError
from convrec.operations.own_data.profile_text import OwnData, profile_text

CATALOG = "game,published\nCatan,1995\nAzul,2017\n7 Wonders,2010\nRisk,1959\nGo,\nAzul,2017\n"
ROWS = [f"Something like number {number}?,Catan;Azul (2017)" for number in range(20)]
BAD = [",Azul", "Nothing fits,", "A game for one?,Uno"]

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(init)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data, in which the commands run."""
    (tmp_path / "catalog.csv").write_text(CATALOG)
    (tmp_path / "games.csv").write_text("\n".join(["request,liked", *ROWS, *BAD]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, answers: str = "") -> str:
    result = CliRunner().invoke(app, list(words), input=answers)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_a_second_column_of_items_is_pointed_out(work: Path) -> None:
    rows = [f"Something like number {number}?,Catan,Azul" for number in range(20)]
    (work / "games.csv").write_text("\n".join(["request,liked,shelf", *rows]))
    note = "note: column shelf also holds items of the catalog and is not used"
    assert note in run("games", "--conversations", "games.csv")
    assert note not in run("games", "--conversations", "games.csv", "--seen", "shelf", "--force")


def test_a_profile_is_written_and_its_data_shown(work: Path) -> None:
    output = run("games", "--conversations", "games.csv", "--noun", "board game")
    assert "conversations: 23 rows read, 2 set aside, 21 kept" in output
    assert "  1 × no liked (line 23)" in output
    assert "catalog: 6 rows read, 1 set aside, 5 kept" in output
    assert "ground truth: 2 of 3 titles are in the catalog" in output
    assert "not in the catalog, most often: Uno (1)" in output
    assert "next: convrec plan games" in output
    config = load("games")
    assert config.profile == "games"
    assert config.domain.noun == "board game"
    assert config.ingest.columns == {"title": "game", "year": "published"}
    assert config.ingest.conversation_columns == {
        "conversation": "request",
        "ground_truth": "liked",
    }
    assert (config.list_length, config.reflect.top, config.remap.keep) == (2, 4, 5)
    assert Store(home()).headers("conversations")[0].figures["samples"] == 21


def test_a_terminal_is_asked_and_may_correct_a_guess(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convrec.cli.init._is_terminal", lambda: True)
    answers = ["games.csv", "-", "", "no such", "liked", "", "", "", "", "", "board game"]
    output = run("games", answers="\n".join(answers) + "\n")
    assert "there is no column 'no such'; the columns are request, liked" in output
    config = load("games")
    assert config.domain.noun == "board game"
    assert config.ingest.catalog_from == "ground_truth"  # the dash: no catalog file


def test_lists_need_no_separator(work: Path) -> None:
    rows = [{"text": f"A game for {n} people?", "liked": ["Catan"]} for n in range(20)]
    (work / "games.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert "ground truth  column liked, lists" in run("games", "--conversations", "games.jsonl")


def test_without_a_catalog_the_items_are_those_of_the_answers(work: Path) -> None:
    (work / "catalog.csv").unlink()
    run("games", "--conversations", "games.csv", "--teacher", "none", "--base", "some/model")
    config = load("games")
    assert config.ingest.catalog_from == "ground_truth"
    assert (config.recommend.source, config.reflect.enabled) == ("neighbours", False)
    assert (config.model.base, config.sft.lora.rank) == ("some/model", 16)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("demo", "--conversations", "games.csv"), "ships with convrec; choose another name"),
        (("Games!", "--conversations", "games.csv"), "cannot be the name of a profile"),
        (("games",), "--conversations is missing"),
        (("games", "--conversations", "gone.csv"), "gone.csv does not exist"),
        (
            ("games", "--conversations", "games.csv", "--ground-truth", "loved"),
            r"no column 'loved' \(--ground-truth\); the columns are request, liked",
        ),
    ],
)
def test_what_cannot_be_understood_is_said(
    words: tuple[str, ...], problem: str, work: Path
) -> None:
    with pytest.raises(InputError, match=problem):
        run(*words)
    assert not (work / "profiles").exists()


def test_a_profile_is_replaced_only_if_forced(work: Path) -> None:
    run("games", "--conversations", "games.csv")
    with pytest.raises(InputError, match="give --force to replace it"):
        run("games", "--conversations", "games.csv")
    run("games", "--conversations", "games.csv", "--force")


def test_a_failed_ingest_leaves_no_profile(work: Path) -> None:
    (work / "games.csv").write_text("request,liked\nA game for two?,;\n")
    with pytest.raises(InputError, match="no usable row"):
        run("games", "--conversations", "games.csv")
    assert not (work / "profiles").exists()


@pytest.mark.parametrize(
    "data",
    [
        OwnData("a", "x.csv", {"conversation": "c", "ground_truth": "g", "list": "l"}),
        OwnData('"', 'C:\\x "y".csv', {"conversation": 'a "b"'}, separator="\n", catalog="c.csv"),
        OwnData("a", "x", {}, catalog="c", years=False, year_in_title=True, items=9000, base="b"),
    ],
)
def test_every_profile_is_valid(data: OwnData, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(profile_text(data), encoding="utf-8")
    config = load(str(tmp_path / "own.toml"))
    assert config.ingest.path == data.conversations
    assert config.ingest.separator == data.separator
    assert config.recommend.source == data.source
    assert config.remap.keep >= config.reflect.top >= config.list_length
