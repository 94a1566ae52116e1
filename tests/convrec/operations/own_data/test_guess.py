"""Columns are recognized by their names, and by their values where names say nothing."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from convrec.errors import InputError
from convrec.operations.own_data.guess import (
    guess_catalog_columns,
    guess_conversation_columns,
    guess_noun,
    guess_separator,
    guess_split_days,
    item_columns,
    title_keys,
)
from convrec.operations.own_data.peek import Peek, peek

GAMES = title_keys(["Catan", "Azul (2017)", "Ticket to Ride: Europe", "7 Wonders"])


def table(**columns: list[Any]) -> Peek:
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    return Peek(list(columns), rows)


def test_columns_are_found_by_name() -> None:
    found = guess_conversation_columns(
        table(
            **{
                "Post ID": ["a", "b"],
                "Request": ["Any game for two?", "Something that is quick"],
                "games liked": ["Azul", "Catan; 7 Wonders"],
                "alreadyOwned": ["Catan", ""],
                "created_at": ["2024-05-01", "2024-05-02"],
                "minutes": [30, 45],
                "Set": ["good", "bad"],
                "subset": ["train", "test"],
            }
        ),
        GAMES,
    )
    assert found == {
        "conversation": "Request",
        "ground_truth": "games liked",
        "seen": "alreadyOwned",
        "id": "Post ID",
        "date": "created_at",
        "split": "subset",
    }


def test_columns_without_a_telling_name_are_found_by_their_values() -> None:
    data = table(
        a=["Which game is good for two people?", "We look for something short"],
        b=["Azul", "Catan|7 Wonders"],
        c=["Berlin", "Hamburg"],
    )
    assert guess_conversation_columns(data, GAMES) == {"conversation": "a", "ground_truth": "b"}
    assert guess_conversation_columns(data, frozenset()) == {"conversation": "a"}


def test_of_two_columns_of_items_the_fuller_one_is_the_ground_truth() -> None:
    data = table(
        ask=["Which game is good for two people?"] * 4,
        shelf=["Catan", "", "", "Azul"],
        advice=["Azul", "Katan", "7 Wonders", "Azul | Catan"],
    )
    found = guess_conversation_columns(data, GAMES)
    assert found == {"conversation": "ask", "ground_truth": "advice"}
    assert item_columns(data, GAMES, found.values()) == {"shelf": 1.0}


def test_a_given_column_is_not_guessed_again() -> None:
    data = table(text=["a b c d", "e f g h"], liked=["Azul", "Catan"], other=["Azul", "7 Wonders"])
    found = guess_conversation_columns(data, GAMES, {"ground_truth": "other"})
    assert found == {"conversation": "text", "ground_truth": "other"}


def test_minutes_are_no_dates_and_repeated_words_no_ids() -> None:
    found = guess_conversation_columns(
        table(text=["a b c", "d e f"], liked=["Azul"] * 2, time=[30, 45], user_id=["x", "x"]), GAMES
    )
    assert found == {"conversation": "text", "ground_truth": "liked"}


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["Catan;Azul", "7 Wonders"], ";"),
        (["Catan | Azul"], "|"),
        (["Catan, Azul, 7 Wonders", "Catan"], ","),
        (["Catan\nTicket to Ride: Europe"], "\n"),
        (["Azul"], ";"),
        (['["Catan", "Azul"]'], ";"),
    ],
)
def test_titles_are_separated_by_what_gives_the_most_of_the_catalog(
    cells: list[str], separator: str
) -> None:
    assert guess_separator(cells, GAMES) == separator


def test_the_last_fifth_of_the_dates_is_held_out() -> None:
    cells = [f"2024-05-{day:02}" for day in range(1, 31)] + ["no date"]
    assert guess_split_days(cells) == (date(2024, 5, 25), date(2024, 5, 28))
    assert guess_split_days(["2024-05-01"] * 30) is None
    assert guess_split_days([]) is None


def test_the_columns_of_a_catalog() -> None:
    data = table(
        **{
            "Game": ["Catan", "Azul"],
            "Year Published": [1995, None],
            "released": ["soon", "late"],
            "id": [1, 1],
            "mechanics": ["Dice", "Tiles"],
        }
    )
    found = {"title": "Game", "year": "Year Published", "genres": "mechanics"}
    assert guess_catalog_columns(data) == found
    assert (guess_noun("Game"), guess_noun("board_games"), guess_noun("title")) == (
        "game",
        "game",
        "item",
    )


def test_a_file_shows_its_columns_whatever_separates_them(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("Wunsch;Gut\nKurz, bitte;Azul\n", encoding="utf-8")
    found = peek(tmp_path / "data.csv")
    assert found == (["wunsch", "gut"], [{"wunsch": "Kurz, bitte", "gut": "Azul"}])
    assert peek(tmp_path).columns == ["wunsch", "gut"]
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="has no rows"):
        peek(tmp_path / "empty.jsonl")
