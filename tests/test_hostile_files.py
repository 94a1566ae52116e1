"""Any file has its rows read or quarantined, or is rejected in one sentence."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from convrec.catalog.load import load_catalog
from convrec.config import load
from convrec.errors import ConvrecError
from convrec.llm.batch.output import line_outcome, read_output_lines
from convrec.llm.outcome import Success
from convrec.llm.requests import Request
from convrec.llm.response import make_response
from convrec.llm.response_store import response_table
from convrec.llm.spool import read_segment
from convrec.stages.evaluate.score_file import exact_titles
from convrec.stages.evaluate.score_rows import read_score_rows
from convrec.stages.ingest import read_data

SAMPLE = {
    "prompt": [{"role": "user", "content": "USER: Like Heat?"}],
    "seen_titles": ["Heat"],
    "groundtruth_with_release_year": [["Ronin", "1998"]],
    "completion": "Ronin (1998)",
    "sample_id": "a",
    "created_utc": 1_665_000_000,
}
TURN = {"input": "User: Heat?", "rec": [1], "prev_entity": [2], "dialog_id": "d", "turn_id": 0}
ANSWER = {"id": "x", "choices": [{"message": {"role": "assistant", "content": "1. Heat (1995)"}}]}
OUTCOME = {"custom_id": "c", "response": {"status_code": 200, "body": ANSWER}, "error": None}


def jsonl(row: Any) -> bytes:
    return json.dumps(row).encode() + b"\n"


def parquet(row: Any) -> bytes:
    out = io.BytesIO()
    pl.DataFrame([row]).write_parquet(out)
    return out.getvalue()


def catalog(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    items, _ = load_catalog(folder / name)
    exact_titles(folder / name, {})
    assert items.height


def conversations(folder: Path, name: str, data: bytes) -> None:
    (folder / "catalog.csv").write_text("title,year\nHeat,1995\nRonin,1998\n")
    (folder / name).write_bytes(data)
    source = read_data(load("reddit-v2", {"ingest.path": str(folder)}))
    assert source.conversations.height


def dialogues(folder: Path, name: str, data: bytes) -> None:
    files = {
        "item_ids.json": b"[1, 2]",
        "entity2id.json": b'{"<http://dbpedia.org/resource/Heat_(1995_film)>": 1, "Ronin": 2}',
        "test.jsonl": jsonl(TURN),
    }
    for file, content in (files | {name: data}).items():
        (folder / file).write_bytes(content)
    source = read_data(load("inspired-replay", {"ingest.path": str(folder)}))
    assert source.conversations.height


def datasets_folder(folder: Path, name: str, data: bytes) -> None:
    (folder / "catalog.csv").write_text("title,year\nHeat,1995\n")
    (folder / name).write_bytes(data)
    read_data(load("reddit-v2", {"ingest.path": str(folder)}))


def lists(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    for row in read_score_rows(folder / name, "standard", []):
        assert row.to_score.ground_truth


def batch_output(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    request = Request("c", "e", {"model": "m", "messages": []})
    for row in read_output_lines(folder / name):
        outcome = line_outcome(row, request)
        if isinstance(outcome, Success):
            response_table(
                [make_response(request, outcome.response, outcome.usage, 0.0, run="", stage="")]
            )


def spool(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    read_segment(folder / name)


def profile(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    load(str(folder / name))


Reader = Callable[[Path, str, bytes], None]
GOOD: dict[str, tuple[Reader, bytes]] = {
    "catalog.csv": (catalog, b"title,year,item_id,aliases,genres\nHeat,1995,h,Hot|Warm,Crime\n"),
    "catalog.parquet": (
        catalog,
        parquet({"title": "Heat", "year": 1995, "aliases": ["Hot"], "genres": 5, "item_id": "h"}),
    ),
    "rows.jsonl": (conversations, jsonl(SAMPLE)),
    "rows.parquet": (conversations, parquet(SAMPLE)),
    "test.jsonl": (dialogues, jsonl(TURN)),
    "entity2id.json": (dialogues, b'{"Heat_(1995_film)": 1, "Ronin_( )": 2}'),
    "item_ids.json": (dialogues, b"[1, 2]"),
    "lists.jsonl": (lists, jsonl(SAMPLE)),
    "output.jsonl": (batch_output, jsonl(OUTCOME)),
    "1-a-1.jsonl": (spool, jsonl({"key": "k", "endpoint": "e"})),
    "mine.toml": (profile, b'seed = 5\n[model]\nbase = "tiny"\n'),
}
HOSTILE: list[tuple[str, bytes]] = [
    ("catalog.csv", b"title,year\n" + b"\0" * 9 + b",1995\nHeat,1995\n"),
    ("catalog.csv", b'title,year\n"' + b"x" * 1_000_000 + b"\n"),
    ("catalog.csv", b"title,year\nHeat," + b"9" * 5000 + b"\nHeat,1e999\nHeat,nan\n"),
    ("catalog.csv", b"title,year\r\xff\xfe"),
    ("catalog.csv", "title,year\n\u202eAlien\u2066,1979\n".encode()),
    ("rows.jsonl", b"[" * 10_000 + b"\n" + jsonl(SAMPLE)),
    ("rows.jsonl", jsonl(SAMPLE | {"created_utc": 10**400})),
    ("rows.jsonl", jsonl(SAMPLE | {"sample_id": "\ud800"})),
    ("rows.jsonl", jsonl(SAMPLE | {"sample_id": {"a": [1]}, "seen_titles": [[["x"], 1]]})),
    ("rows.jsonl", jsonl(SAMPLE | {"groundtruth_with_release_year": [["\udfff", 1998]]})),
    ("rows.jsonl", jsonl(SAMPLE | {"prompt": "USER: " + "x " * 500_000})),
    ("test.jsonl", jsonl(TURN | {"dialog_id": "\ud800"})),
    ("test.jsonl", jsonl(TURN | {"input": " " * 1_000_000 + "x", "rec": [True, 1, "1"]})),
    ("entity2id.json", b'{"Heat_( )": 1, "\\ud800": 2}'),
    ("entity2id.json", b"[" * 10_000),
    ("item_ids.json", b"[1, 2, 3]"),
    ("item_ids.json", b"7"),
    ("lists.jsonl", jsonl(SAMPLE | {"groundtruth_with_release_year": [["a", 10**400]]})),
    ("lists.jsonl", b'{"completion": ' + b"[" * 10_000 + b"\n"),
    ("output.jsonl", b"[" * 10_000),
    ("output.jsonl", jsonl(OUTCOME | {"response": {"status_code": 200, "body": [1]}})),
    ("output.jsonl", jsonl(OUTCOME | {"response": {"status_code": 400, "body": {"error": []}}})),
    ("1-a-1.jsonl", b'{}\n{"key": 1}\n[1]\n' + b"[" * 10_000),
    ("mine.toml", b"seed = \xff"),
    ("mine.toml", b"a = " + b"[" * 10_000),
    ("mine.toml", b"ingest = 5\nllm = []\nsources = {a = {ingest = 1}}"),
]


def reads_or_rejects(name: str, data: bytes, reader: Reader | None = None) -> None:
    with TemporaryDirectory() as folder:
        try:
            (reader or GOOD[name][0])(Path(folder), name, data)
        except ConvrecError as error:
            sentence = str(error)
        else:
            return
    assert len(sentence.splitlines()) == 1


@pytest.mark.parametrize("name", GOOD)
def test_the_undamaged_files_are_read(name: str, tmp_path: Path) -> None:
    reader, data = GOOD[name]
    reader(tmp_path, name, data)


@pytest.mark.parametrize(("name", "data"), HOSTILE)
def test_a_hostile_file_is_read_or_rejected(name: str, data: bytes) -> None:
    reads_or_rejects(name, data)


@pytest.mark.parametrize("name", GOOD)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_rejected(name: str, data: st.DataObject) -> None:
    good = GOOD[name][1]
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 12)))
    reads_or_rejects(name, good[:start] + data.draw(st.binary(max_size=8)) + good[end:])


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.sampled_from(["", " ", "\ud800", "Heat (1995)", "1995"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "title", "year"]), inner, max_size=3)
    ),
    max_leaves=6,
)
ROWS = {"rows.jsonl": SAMPLE, "test.jsonl": TURN, "lists.jsonl": SAMPLE, "output.jsonl": OUTCOME}


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_row_with_any_value_is_read_or_rejected(name: str, data: st.DataObject) -> None:
    row = ROWS[name]
    key = data.draw(st.sampled_from(sorted(row)))
    reads_or_rejects(name, jsonl(row | {key: data.draw(VALUES)}) + jsonl(row))


@pytest.mark.parametrize("name", ["dataset_dict.json", "state.json"])
@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["splits", "_split", "_data_files"]),
        st.none() | st.lists(st.sampled_from([".", "..", "a", 1, None, {"filename": 1}]) | VALUES),
    )
    | VALUES
)
@example({"splits": ["."]})
@example({"splits": [".."]})
@example({"_data_files": [{"filename": "../catalog.csv"}]})
def test_any_datasets_description_is_read_or_rejected(name: str, description: Any) -> None:
    reads_or_rejects(name, json.dumps(description).encode(), datasets_folder)
