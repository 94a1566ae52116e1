"""Conversations in every kind of file: read alike, or named."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from convrec.errors import InputError
from convrec.stages.ingest import read_data
from convrec.stages.ingest.files import conversation_files, skipped_files
from convrec.stages.ingest.read import conversations_inputs
from convrec.stages.ingest.skipped import skipped_inputs
from tests.support.conversation_files import data_config, post

TEXTS = [f"USER: A film like number {number} – or “Ran”?" for number in range(6)]
ROWS = [post(text) for text in TEXTS]
PLAIN = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def zstd(text: str) -> bytes:
    return bytes(pa.compress(text.encode(), codec="zstd", asbytes=True))


def table(separator: str = ",", write: Callable[[Any], str] = json.dumps) -> str:
    """The rows as a table of text, with lists written by `write`."""
    cells = [
        ("" if value is None else value if isinstance(value, str) else write(value))
        for row in ROWS
        for value in row.values()
    ]
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    width = len(ROWS[0])
    lines = [separator.join(quoted[n : n + width]) for n in range(0, len(quoted), width)]
    return "\n".join([separator.join(ROWS[0]), *lines]) + "\n"


def parquet() -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(ROWS).write_parquet(buffer)
    return buffer.getvalue()


FORMS: dict[str, tuple[str, bytes]] = {
    "lines": ("rows.jsonl", PLAIN.encode()),
    "gzip": ("rows.jsonl.gz", gzip.compress(PLAIN.encode())),
    "zstd": ("rows.jsonl.zst", zstd(PLAIN)),
    "bzip2": ("rows.jsonl.bz2", bz2.compress(PLAIN.encode())),
    "xz": ("rows.jsonl.xz", lzma.compress(PLAIN.encode())),
    "ndjson": ("rows.ndjson", PLAIN.encode()),
    "upper case": ("ROWS.JSONL.GZ", gzip.compress(PLAIN.encode())),
    "gzip without its ending": ("rows.jsonl", gzip.compress(PLAIN.encode())),
    "gzip with a wrong ending": ("rows.json", gzip.compress(PLAIN.encode())),
    "list": ("rows.json", json.dumps(ROWS).encode()),
    "list over lines": ("rows.json", json.dumps(ROWS, indent=2).encode()),
    "list, gzip": ("rows.json.gz", gzip.compress(json.dumps(ROWS).encode())),
    "list named as lines": ("rows.jsonl", json.dumps(ROWS, indent=1).encode()),
    "list on one line": ("rows.jsonl", json.dumps(ROWS).encode()),
    "lines named as JSON": ("rows.json", PLAIN.encode()),
    "object with a list": ("rows.json", json.dumps({"version": "1", "data": ROWS}).encode()),
    "object of objects": ("rows.json", json.dumps(dict(zip("abcdef", ROWS, strict=True))).encode()),
    "viewer": (
        "rows.json",
        json.dumps({"rows": [{"row_idx": 0, "row": r} for r in ROWS]}).encode(),
    ),
    "trailing comma": ("rows.json", (json.dumps(ROWS)[:-1] + ",]").encode()),
    "commas after lines": ("rows.jsonl", PLAIN.replace("\n", ",\n").encode()),
    "objects on one line": ("rows.jsonl", PLAIN.replace("\n", "").encode()),
    "objects without commas": (
        "rows.json",
        "".join(json.dumps(r, indent=1) for r in ROWS).encode(),
    ),
    "CRLF": ("rows.jsonl", PLAIN.replace("\n", "\r\n").encode()),
    "byte order mark": ("rows.jsonl", PLAIN.encode("utf-8-sig")),
    "UTF-16": ("rows.jsonl", PLAIN.encode("utf-16")),
    "no last newline": ("rows.jsonl", PLAIN.rstrip("\n").encode()),
    "blank lines": ("rows.jsonl", PLAIN.replace("\n", "\n\n \n").encode()),
    "CSV": ("rows.csv", table().encode()),
    "CSV by pandas": ("rows.csv", table(write=repr).encode()),
    "CSV, gzip": ("rows.csv.gz", gzip.compress(table().encode())),
    "CSV by Excel": ("rows.csv", table(";").encode("utf-8-sig")),
    "TSV": ("rows.tsv", table("\t").encode()),
    "Parquet": ("rows.parquet", parquet()),
    "Parquet with another ending": ("rows.jsonl", parquet()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_conversations(tmp_path: Path, form: str) -> None:
    name, content = FORMS[form]
    (tmp_path / name).write_bytes(content)
    data = read_data(data_config(tmp_path))
    assert sorted(data.conversations["conversation"]) == TEXTS
    truths = data.conversations["ground_truth"].to_list()
    assert truths == [[{"title": "Ronin", "year": 1998}]] * 6
    assert data.conversations["seen"].to_list() == [[{"title": "Heat", "year": None}]] * 6
    assert data.quarantine.height == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_single_file_is_read_like_a_folder(tmp_path: Path, form: str) -> None:
    name, content = FORMS[form]
    (tmp_path / name).write_bytes(content)
    data_config(tmp_path)
    data = read_data(data_config(tmp_path / name))
    assert sorted(data.conversations["conversation"]) == TEXTS


BROKEN = [
    ("rows.jsonl", b'{"prompt": "x", \n' + PLAIN.encode(), 1, "not JSON"),
    ("rows.jsonl", PLAIN.encode() + b'{"prompt": "x"', 7, "not JSON"),
    ("rows.jsonl", PLAIN.encode() + b"\0\0\0\0", 7, "not JSON"),
    ("rows.jsonl", PLAIN.encode() + b'{"prompt": "a\0b"}\n', 7, "not JSON"),
    ("rows.jsonl", PLAIN.encode() + "Amélie\n".encode("latin-1"), 7, "not UTF-8"),
    ("rows.jsonl", PLAIN.encode() + json.dumps(ROWS[0])[:-1].encode() + b', "prompt": "x"}', 7,
     "repeats the key prompt"),
    ("rows.jsonl", PLAIN.encode() + json.dumps(post("USER: x", created_utc=float("nan"))).encode(),
     7, "created_utc"),
    ("rows.json", b"[" + json.dumps(ROWS[0]).encode() + b', {"prompt": broken, "x": [{}]},'
     + json.dumps(ROWS[1:])[1:].encode(), 2, "not JSON"),
    ("rows.json", json.dumps([*ROWS[:2], 7, *ROWS[2:]]).encode(), 3, "not a JSON object"),
    ("rows.csv", table().encode() + b"one field\n", 8, "1 fields where the header has 3"),
    ("rows.csv", table().encode() + b'USER: x,[],"[\n', 8, "quote"),
    ("rows.csv", table().encode() + b"USER: x,[],Heat\n", 8, "is not a list"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "line", "reason"), BROKEN)
def test_a_bad_row_costs_only_itself(
    tmp_path: Path, name: str, content: bytes, line: int, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    data = read_data(data_config(tmp_path))
    assert sorted(data.conversations["conversation"]) == TEXTS
    assert data.quarantine["line"].to_list() == [line]
    assert reason in data.quarantine["reason"][0]


def write_all(folder: Path, names: list[str]) -> None:
    """Write one row to each file, with a text of its own."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(post(f"USER: {name} {number}"))
        if name.endswith(".parquet"):
            pl.DataFrame([post(f"USER: {name} {number}")]).write_parquet(path)
        else:
            path.write_bytes(
                gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
            )


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train.jsonl", "validation.jsonl", "test.jsonl"),
        ("train.jsonl", "valid.jsonl.gz", "test.jsonl.gz"),
        ("Train.json", "Dev.json", "Test.json"),
        ("train.ndjson", "val.ndjson", "test.ndjson"),
        ("train-00000-of-00001.parquet", "validation-0.parquet", "test-00000-of-00001.parquet"),
        ("data/train-0.parquet", "data/validation-0.parquet", "data/test-0.parquet"),
        ("train/part-0.jsonl", "valid/part-0.jsonl", "test/part-0.jsonl.gz"),
        ("train.jsonl", "dev/part-0.jsonl.gz", "test/part-0.jsonl.gz"),
        ("reddit-train.jsonl", "reddit-valid.jsonl", "reddit-test.jsonl"),
        ("reddit_train_v2.json", "reddit_dev_v2.json", "reddit_test_v2.json"),
        ("default/train/0000.parquet", "default/validation/0000.parquet", "default/test/0.parquet"),
        ("training.jsonl", "validation.jsonl", "evaluation.jsonl"),
        ("train [1].jsonl", "dev (1).jsonl", "test[0-9].jsonl"),
        ("train copy.jsonl", "val1.jsonl", "test?.jsonl.gz"),
        ("Train Set.jsonl", "DevSet.jsonl", "testset 2.json"),
        ("split=train/0.jsonl", "split=valid/0.jsonl", "split=test/0.parquet"),
    ],
)
def test_splits_in_names_are_kept(tmp_path: Path, train: str, validation: str, test: str) -> None:
    write_all(tmp_path, [train, validation, test])
    rows = read_data(data_config(tmp_path)).conversations
    found = {row["split"]: row["conversation"] for row in rows.iter_rows(named=True)}
    assert found == {
        "train": f"USER: {train} 0",
        "validation": f"USER: {validation} 1",
        "test": f"USER: {test} 2",
    }


def test_splits_in_one_document_are_kept(tmp_path: Path) -> None:
    splits = {"train": ROWS[:3], "valid": ROWS[3:4], "test": ROWS[4:]}
    (tmp_path / "data.json").write_text(json.dumps(splits))
    rows = read_data(data_config(tmp_path)).conversations
    assert dict(rows.group_by("split").len().iter_rows()) == {
        "train": 3, "validation": 1, "test": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("files", "part"),
    [
        (["train.jsonl", "test.xlsx"], "test.xlsx is named after the test split but is not read"),
        (["train.jsonl", "test.zip"], "convert it to JSONL, JSON, CSV or Parquet"),
        (["train.jsonl", "test.tar.gz"], "test.tar.gz is named after the test split"),
        (["train.jsonl", "test-00000-of-00001.arrow"], "named after the test split"),
        (["train.jsonl", "validation.txt"], "validation.txt is named after the validation split"),
        (["train.jsonl", "dev.pkl"], "dev.pkl is named after the validation split"),
        (["train.jsonl", "test (1).xlsx"], "test (1).xlsx is named after the test split"),
        (["train.jsonl", "test set.zip"], "test set.zip is named after the test split"),
        (["train.jsonl", "more/test.jsonl"], "more/test.jsonl is named after the test split"),
        (["train.jsonl", "test.jsonl", "testimonials.jsonl"], "and also testimonials.jsonl"),
        (["test.jsonl"], "no usable row in the train split (usable splits: test"),
        (["test.jsonl.gz", "validation.jsonl.gz"], "no usable row in the train split"),
        (["test.jsonl", "more.jsonl"], "files named after splits and also more.jsonl"),
        (["train.zip"], "train.zip: .zip is not a format of conversations"),
        ([], "has no .jsonl or .parquet file"),
    ],
)
def test_a_lost_split_is_refused(tmp_path: Path, files: list[str], part: str) -> None:
    write_all(tmp_path, files)
    with pytest.raises(InputError) as caught:
        read_data(data_config(tmp_path))
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_test_table_without_conversations_is_refused(tmp_path: Path) -> None:
    write_all(tmp_path, ["train.jsonl"])
    (tmp_path / "test.csv").write_text("id,label\n1,2\n")
    with pytest.raises(InputError, match="it has no column prompt"):
        read_data(data_config(tmp_path))


def test_a_link_to_nothing_is_a_lost_split(tmp_path: Path) -> None:
    write_all(tmp_path, ["train.jsonl"])
    (tmp_path / "test.jsonl").symlink_to(tmp_path / "nowhere.jsonl")
    with pytest.raises(InputError, match=r"test.jsonl .* is not read \(a link to nothing\)"):
        read_data(data_config(tmp_path))


def test_a_link_back_up_repeats_no_file(tmp_path: Path) -> None:
    write_all(tmp_path, ["train.jsonl", "test.jsonl"])
    before = conversation_files(data_config(tmp_path))
    (tmp_path / "data").symlink_to(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "up").symlink_to(tmp_path)
    assert conversation_files(data_config(tmp_path)) == before


def test_a_file_name_that_is_not_utf8_is_shown_without_it(tmp_path: Path) -> None:
    write_all(tmp_path, ["test.jsonl"])
    (tmp_path / os.fsdecode(b"train\xff.jsonl")).write_text(PLAIN + "broken\n")
    assert read_data(data_config(tmp_path)).quarantine["source"].to_list() == ["train?.jsonl"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("notes.xlsx", ".xlsx is not a format of conversations"),
        ("more.txt", ".txt is not a format of conversations"),
        ("more.zip", ".zip is not a format of conversations"),
        ("rows.json", "rows.jsonl has the same name and is read instead"),
        ("rows.jsonl.gz", "rows.jsonl has the same name and is read instead"),
        ("old/rows.jsonl", "a folder that is not named train, validation, test or data"),
    ],
)
def test_a_file_that_is_not_read_is_named(
    tmp_path: Path, name: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "rows.jsonl").write_text(PLAIN)
    before = conversations_inputs(data_config(tmp_path))
    write_all(tmp_path, [name])
    config = data_config(tmp_path)
    data = read_data(config)
    assert data.conversations.height == 6
    assert data.quarantine["reason"].to_list() == [f"not read: {reason}"]
    assert data.quarantine["source"][0] in (name, "old/")
    assert conversations_inputs(config) == before
    assert "skipped" in skipped_inputs(config)


@pytest.mark.parametrize(
    "name", ["README.md", "imdb_ids.json", ".hidden.jsonl", "LICENSE", "run.py"]
)
def test_a_file_without_conversations_changes_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "rows.jsonl").write_text(PLAIN)
    before = conversations_inputs(data_config(tmp_path))
    (tmp_path / name).write_text('{"tt0113277": "Heat"}')
    config = data_config(tmp_path)
    assert conversations_inputs(config) == before
    assert skipped_inputs(config) == {}
    assert read_data(config).quarantine.height == 0
    assert [file.is_data for file in skipped_files(config)] in ([], [False])


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.json", "test.jsonl", "test/a.jsonl"])
def test_a_file_that_is_read_now_changes_the_id(tmp_path: Path, name: str) -> None:
    write_all(tmp_path, ["train.jsonl"])
    before = conversations_inputs(data_config(tmp_path))
    write_all(tmp_path, [name])
    assert conversations_inputs(data_config(tmp_path)) != before


def test_a_pointer_is_refused_with_its_remedy(tmp_path: Path) -> None:
    write_all(tmp_path, ["train.jsonl"])
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    for name in ("test.jsonl", "test.csv", "test.parquet"):
        (tmp_path / name).write_text(pointer)
        with pytest.raises(InputError, match="run `git lfs pull`"):
            read_data(data_config(tmp_path))
        (tmp_path / name).unlink()


def test_several_lists_in_an_object_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps({"a": ROWS, "b": ROWS}))
    with pytest.raises(InputError, match=r"not clear where the rows are \(its keys: a, b\)"):
        read_data(data_config(tmp_path))


def test_an_archive_with_the_name_of_rows_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "rows.jsonl", "w") as archive:
        archive.writestr("rows.jsonl", PLAIN)
    with pytest.raises(InputError, match=r"is a ZIP archive, not JSONL, JSON, CSV or Parquet"):
        read_data(data_config(tmp_path))


@pytest.mark.parametrize(
    "name",
    ["a[1]", "a?b", "a*", "{a,b}", "with space", "#1", "100%25", "ü – 電影", "~x", "$HOME", "a;b"],
)
def test_a_path_is_no_pattern(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    pl.DataFrame(ROWS[:3]).write_parquet(io.BytesIO())
    for file, rows in ((f"train {name}.parquet", ROWS[:3]), (f"test {name}.parquet", ROWS[3:])):
        with (folder / file).open("wb") as out:
            pl.DataFrame(rows).write_parquet(out)
    data = read_data(data_config(folder))
    assert sorted(data.conversations["conversation"]) == TEXTS
    files = conversation_files(data_config(folder))
    assert [file.split for file in files] == ["test", "train"]
