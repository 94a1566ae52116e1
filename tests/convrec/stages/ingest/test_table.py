"""Conversations in a table whose columns the user names."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from convrec.config import Config, load
from convrec.errors import ConfigError, InputError
from convrec.stages.ingest import CONVERSATIONS
from convrec.stages.ingest.read import conversations_config, read_conversations
from convrec.stages.ingest.table import seconds_since_1970

NAMES = {"conversation": "chat", "ground_truth": "liked"}


def table(path: Path, **settings: Any) -> Config:
    changed = {f"ingest.{name}": value for name, value in settings.items()}
    defaults = {
        "ingest.format": "table",
        "ingest.path": str(path),
        "ingest.conversation_columns": NAMES,
    }
    return load("reddit-v2", defaults | changed)


def write_csv(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def titles(rows: pl.DataFrame, column: str) -> list[list[str]]:
    return [[entry["title"] for entry in cell] for cell in rows[column].to_list()]


@pytest.mark.parametrize(
    ("cell", "separator"),
    [
        ("Catan; 7 Wonders (2010)", ";"),
        ("Catan|7 Wonders (2010)", "|"),
        ('"[""Catan"", ""7 Wonders (2010)""]"', ";"),
        ('"[[""Catan"", null], [""7 Wonders"", ""2010""]]"', ";"),
        ("\"[{'title': 'Catan'}, {'title': '7 Wonders', 'year': 2010}]\"", "|"),
    ],
)
def test_titles_of_a_cell_are_separated_or_a_list(
    cell: str, separator: str, tmp_path: Path
) -> None:
    rows = (f"Something for {number} players?,{cell}" for number in range(12))
    path = write_csv(tmp_path / "games.csv", "Chat,Liked", *rows)
    found, bad = read_conversations(table(path, separator=separator))
    assert (found.height, bad.height) == (12, 0)
    wanted = [{"title": "Catan", "year": None}, {"title": "7 Wonders", "year": 2010}]
    assert all(cell == wanted for cell in found["ground_truth"].to_list())
    assert set(found["split"]) == {"train", "validation", "test"}


def test_all_columns_of_a_parquet_file(tmp_path: Path) -> None:
    days = [datetime(2024, 5, day, 12, tzinfo=UTC) for day in (1, 2, 3)]
    frame = pl.DataFrame(
        {
            "key": ["a", "b", "c"],
            "Text": ["Short games?", "Long games?", "Games for two?"],
            "picked": [["Azul"], ["Catan", "Risk"], ["Chess"]],
            "named": [["Risk"], [], None],
            "shown": [["Azul", "Catan"], ["Risk"], ["Chess"]],
            "day": days,
        }
    )
    frame.write_parquet(tmp_path / "games.parquet")
    config = table(
        tmp_path / "games.parquet",
        conversation_columns={
            "conversation": "text",
            "ground_truth": "picked",
            "seen": "named",
            "list": "shown",
            "id": "key",
            "date": "day",
        },
        validation_from="2024-05-02",
        test_from="2024-05-03",
    )
    found, bad = read_conversations(config)
    assert bad.is_empty()
    assert found["sample_id"].to_list() == ["a", "b", "c"]
    assert found["split"].to_list() == ["train", "validation", "test"]
    assert found["created_utc"].to_list() == [int(day.timestamp()) for day in days]
    assert found["completion"][0] == "Azul\nCatan"
    assert titles(found, "seen") == [["Risk"], [], []]
    assert titles(found, "ground_truth")[1] == ["Catan", "Risk"]


def test_chat_messages_in_json_lines(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "You are helpful."},
        {"role": "user", "content": "A game for four?"},
        {"role": "assistant", "content": "Catan?"},
        {"role": "user", "content": "Shorter."},
        {"role": "assistant", "content": "Azul."},
    ]
    rows = [{"messages": messages, "liked": ["Azul"], "n": number} for number in range(3)]
    lines = "\n".join(map(json.dumps, rows))
    (tmp_path / "chats.jsonl").write_text(lines, encoding="utf-8")
    columns = {"conversation": "messages", "ground_truth": "liked"}
    found, _ = read_conversations(table(tmp_path / "chats.jsonl", conversation_columns=columns))
    expected = "User: A game for four?\nSystem: Catan?\nUser: Shorter."
    assert found["conversation"].unique().to_list() == [expected]


def test_a_folder_of_json_documents_is_read_by_the_named_column(tmp_path: Path) -> None:
    rows = [{"chat": f"Post {number}", "liked": "Azul"} for number in range(3)]
    (tmp_path / "train.json").write_text(json.dumps({"data": rows}))
    (tmp_path / "test.json").write_text(json.dumps([{"chat": "More?", "liked": "Catan"}]))
    (tmp_path / "notes.json").write_text(json.dumps({"text": "none of ours"}))
    found, _ = read_conversations(table(tmp_path))
    by_split = found.group_by("split").len().sort("split").rows()
    assert by_split == [("test", 1), ("train", 3)]


def test_bad_rows_are_set_aside_with_their_reason(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "games.csv",
        "chat,liked,when,part",
        "Good,Azul,2024-05-01,train",
        ",Azul,2024-05-01,train",
        "No game,,2024-05-01,train",
        "Bad date,Azul,last May,train",
        "Bad split,Azul,2024-05-01,later",
        "No split,Azul,2024-05-01,",
        "Validated,Azul,1714521600,valid",
        "Tested,Azul,,TEST",
    )
    columns = {**NAMES, "date": "when", "split": "part"}
    found, bad = read_conversations(table(path, conversation_columns=columns))
    assert found["split"].to_list() == ["train", "validation", "test"]
    assert bad["line"].to_list() == [3, 4, 5, 6, 7]
    assert bad["reason"].to_list() == [
        "no chat",
        "no liked",
        "when 'last May' is neither a date such as 2024-05-31 nor seconds since 1970",
        "part 'later' is not train, validation or test",
        "no part",
    ]


def test_a_row_without_a_date_is_set_aside_where_dates_split(tmp_path: Path) -> None:
    rows = ("A,Azul,2024-04-30", "B,Azul,", "C,Azul,2024-06-01")
    path = write_csv(tmp_path / "games.csv", "chat,liked,date", *rows)
    days = {"validation_from": "2024-05-01", "test_from": "2024-06-01"}
    found, bad = read_conversations(table(path, **days))
    assert found["split"].to_list() == ["train", "test"]
    assert bad["reason"].to_list() == ["no date"]


def test_a_missing_column_is_named_with_those_of_the_file(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "games.csv", "chat,likes", "Post,Azul")
    with pytest.raises(InputError, match=r"no column liked \(ground_truth\).*are chat, likes"):
        read_conversations(table(path))


def test_no_usable_training_row_names_the_rule(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "games.csv", "chat,liked,date", "A,Azul,2024-07-01")
    days = {"validation_from": "2024-05-01", "test_from": "2024-06-01"}
    with pytest.raises(InputError, match=r"the rows before ingest\.validation_from"):
        read_conversations(table(path, **days))


def test_only_a_table_is_identified_by_its_columns(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "games.csv", "chat,liked", "Post,Azul")
    first, second = table(path), table(path, separator="|")
    assert conversations_config(first) != conversations_config(second)
    assert "separator" not in conversations_config(first)  # the default
    assert CONVERSATIONS.config(first)["conversation_columns"] == NAMES
    other = load("reddit-v2", {"ingest.separator": "|"})
    assert conversations_config(other) == conversations_config(load("reddit-v2"))


@pytest.mark.parametrize("days", [("2024-06-01", "2024-05-01"), ("2024-06-01", None)])
def test_dates_that_make_no_three_splits_are_refused(days: tuple[str, str | None]) -> None:
    settings = {"ingest.validation_from": days[0], "ingest.test_from": days[1]}
    with pytest.raises(ConfigError, match="the validation split must begin first"):
        load("reddit-v2", settings)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1970-01-02", 86_400),
        ("1970-01-02T00:00:00Z", 86_400),
        ("1970-01-02 01:00:00+01:00", 86_400),
        (86_400, 86_400),
        ("86400", 86_400),
        (1_714_521_600_000, 1_714_521_600),
    ],
)
def test_dates_are_read_in_many_forms(value: object, seconds: int) -> None:
    assert seconds_since_1970(value) == seconds


@pytest.mark.parametrize("value", ["yesterday", "31.12.2024", -5, [2024], float("nan")])
def test_other_values_are_no_date(value: object) -> None:
    with pytest.raises(ValueError, match=re.escape(str(value))):
        seconds_since_1970(value)
