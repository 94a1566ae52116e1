from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from convrec.artifacts.tables import KINDS
from convrec.config import Config, load
from convrec.errors import InputError
from convrec.stages.ingest import IngestedData, read_data
from convrec.stages.ingest.read import conversations_inputs

CATALOG = "title,year\nHeat,1995\nRonin,1998\n"
OCTOBER, NOVEMBER, DECEMBER = 1_665_000_000, 1_668_500_000, 1_671_000_000


def row(post: str = "USER: Like Heat?", **values: Any) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": post}],
        "seen_titles": ["Heat"],
        "groundtruth_with_release_year": [["Ronin", "1998"]],
    } | values


def config(folder: Path, **overrides: Any) -> Config:
    return load("reddit-v2", {"ingest.path": str(folder), **overrides})


def ingest(folder: Path, files: dict[str, list[Any]], **overrides: Any) -> IngestedData:
    folder.mkdir(exist_ok=True)
    (folder / "catalog.csv").write_text(CATALOG, encoding="utf-8")
    for name, rows in files.items():
        lines = (value if isinstance(value, str) else json.dumps(value) for value in rows)
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_data(config(folder, **overrides))


def test_a_row_in_the_authors_schema(tmp_path: Path) -> None:
    prompt = "Be helpful.\nHere is the conversation: USER: Like Heat?\n"
    raw = row(
        prompt,
        sample_id="train_2",
        completion=[{"role": "assistant", "content": "Ronin (1998)"}],
        seen_titles=["Heat", ["Dune", 1984], "Ben (1972)"],
        groundtruth_with_release_year=[["Ronin", "1998"], ["Drive", 2011.0], ["Dune", ""]],
    )
    source = ingest(tmp_path, {"rows.jsonl": [raw]})
    assert source.conversations.columns == list(KINDS["conversations"])
    sample = source.conversations.row(0, named=True)
    assert sample["sample_id"] == "train_2"
    assert sample["conversation"] == "USER: Like Heat?"
    assert sample["prompt"] == prompt
    assert sample["completion"] == "Ronin (1998)"
    assert sample["created_utc"] is None
    assert sample["seen"] == [
        {"title": "Heat", "year": None},
        {"title": "Dune", "year": 1984},
        {"title": "Ben", "year": 1972},
    ]
    assert [(t["title"], t["year"]) for t in sample["ground_truth"]] == [
        ("Ronin", 1998), ("Drive", 2011), ("Dune", None),
    ]  # fmt: skip


def test_answers_to_a_post_share_a_context(tmp_path: Path) -> None:
    frame = ingest(tmp_path, {"rows.jsonl": [row(), row(), row("USER: Other")]}).conversations
    first, second, third = frame["context_id"]
    assert first == second != third
    assert frame["sample_id"].to_list() == [f"{first}/0", f"{first}/1", f"{third}/0"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{broken", "not JSON (Expecting property name enclosed in double quotes)"),
        ('"[deleted]"', "not a JSON object"),
        ({"prompt": "x", "seen_titles": []}, "no groundtruth_with_release_year"),
        (row(groundtruth_with_release_year=[]), "empty ground truth"),
        (
            row(groundtruth_with_release_year=[["Ronin", "19x8"]]),
            "groundtruth_with_release_year: broken year '19x8' "
            "(allowed are 1400 to 2035, or empty)",
        ),
        (row(groundtruth_with_release_year="Ronin"), "groundtruth_with_release_year is not a list"),
        (row(seen_titles=[["", 1]]), "an entry of seen_titles has no title"),
        (row(seen_titles=[7]), "an entry of seen_titles is no title and year"),
        (row("USER:  "), "empty conversation"),
        (row("ask\nHere is the conversation: "), "empty conversation"),
        (row(prompt=[{"role": "system", "content": "x"}]), "no user message with text"),
        (row(prompt=7), "the user text is neither text nor chat messages"),
        (row("\ud800"), "text that is not valid Unicode"),
        (row(created_utc="June"), "created_utc 'June' is not seconds since 1970"),
        ("[" * 100_000, "not JSON (maximum recursion depth exceeded while decoding a JSON array "
         "from a unicode string)"),
    ],
)  # fmt: skip
def test_only_a_bad_row_is_quarantined(tmp_path: Path, bad: Any, reason: str) -> None:
    source = ingest(tmp_path, {"rows.jsonl": ["", row(), bad, row("USER: Other")]})
    assert source.conversations.height == 2
    assert source.quarantine.select("source", "line", "reason").rows() == [
        ("rows.jsonl", 3, reason)
    ]
    assert 0 < len(source.quarantine["raw"][0]) <= 2000


def test_rows_that_are_not_utf8_are_quarantined(tmp_path: Path) -> None:
    (tmp_path / "catalog.csv").write_text(CATALOG)
    good = json.dumps(row()).encode()
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + good + b"\n\xff\xfe\n")
    source = read_data(config(tmp_path))
    assert source.conversations.height == 1
    assert source.quarantine["reason"].to_list() == ["not UTF-8"]


def test_time_decides_the_split_of_a_context(tmp_path: Path) -> None:
    rows = [
        row("USER: a", created_utc=OCTOBER),
        row("USER: b", created_utc=float(NOVEMBER)),
        row("USER: c", created_utc=str(DECEMBER)),
        row("USER: a", created_utc=DECEMBER),
        row("USER: d"),
    ]
    source = ingest(tmp_path, {"test.jsonl": rows})
    assert source.conversations["split"].to_list() == ["train", "validation", "test", "train"]
    assert source.conversations["created_utc"][0] == OCTOBER
    assert source.quarantine["reason"].to_list() == ["no created_utc, which other rows have"]


def test_rows_stay_complete_across_buffer_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convrec.stages.ingest.sample_buffer.BATCH_SIZE", 2)
    posts = "abcdefg"
    rows = [
        row(
            f"USER: {post}",
            sample_id="c" if post in "ce" else post,
            seen_titles=[post] * number,
            groundtruth_with_release_year=[[post, 1990 + number]],
        )
        for number, post in enumerate(posts)
    ]
    source = ingest(tmp_path, {"rows.jsonl": rows})
    kept = source.conversations.select("sample_id", "conversation", "seen", "ground_truth").rows()
    assert kept == [
        (
            post,
            f"USER: {post}",
            [{"title": post, "year": None}] * number,
            [{"title": post, "year": 1990 + number}],
        )
        for number, post in enumerate(posts)
        if post != "e"
    ]
    assert source.quarantine["line"].to_list() == [5]
    assert json.loads(source.quarantine["raw"][0]) == rows[4]
    assert gc.isenabled()


def test_several_file_names_decide_the_split(tmp_path: Path) -> None:
    files = {
        "test.jsonl": [row("USER: c"), row("USER: a")],
        "train-00000.jsonl": [row("USER: a")],
        "val.jsonl": [row("USER: b")],
    }
    source = ingest(tmp_path, files)
    placed = source.conversations.select("conversation", "split").rows()
    assert placed == [("USER: c", "test"), ("USER: a", "train"), ("USER: b", "validation")]
    assert source.quarantine.select("source", "line", "reason").rows() == [
        ("test.jsonl", 2, "its conversation also stands in the train split")
    ]


def test_a_single_split_name_is_split_by_hash(tmp_path: Path) -> None:
    rows = [row(f"USER: post {n}") for n in range(40)]
    frame = ingest(tmp_path, {"train.jsonl": rows}).conversations
    assert set(frame["split"]) == {"train", "validation", "test"}


def test_a_continuation_has_the_split_of_its_post(tmp_path: Path) -> None:
    posts = [f"USER: Something like film {number}?" for number in range(40)]
    longer = [f"{post}\nSYSTEM: The Thing.\n\nUSER: Seen it." for post in posts]
    rows = [row(text) for text in [*longer, *posts]]
    data = ingest(tmp_path / "one", {"train.jsonl": rows}).conversations
    splits = data.select(pl.col("conversation").str.split("\n").list.first(), "split").unique()
    assert splits.height == len(posts)
    assert splits["split"].n_unique() == 3
    alone = ingest(tmp_path / "two", {"train.jsonl": rows[40:]}).conversations
    assert set(alone.select("conversation", "split").rows()) == set(splits.rows())


def test_continuations_have_another_id_only_where_a_hash_decides(tmp_path: Path) -> None:
    thread = row("USER: Like Heat?\nSYSTEM: Ronin.\nUSER: Seen it.")
    cases: dict[str, tuple[dict[str, list[Any]], bool]] = {
        "hashed": ({"train.jsonl": [thread]}, True),
        "no turns": ({"train.jsonl": [row("USER: Like Heat?\nEdit: with a heist")]}, False),
        "dated": ({"train.jsonl": [{**thread, "created_utc": 1_600_000_000}]}, False),
        "named": ({"train.jsonl": [thread], "test.jsonl": [row("USER: Like Big?")]}, False),
    }
    for name, (files, differs) in cases.items():
        ingest(tmp_path / name, files)
        inputs = conversations_inputs(config(tmp_path / name))
        assert ("conversations_reading" in inputs) == differs, name


def test_sample_ids_may_repeat_across_files_only(tmp_path: Path) -> None:
    files = {
        "test.jsonl": [row("USER: c", sample_id=0)],
        "train.jsonl": [row("USER: a", sample_id=0), row("USER: b", sample_id=0)],
    }
    source = ingest(tmp_path, files)
    assert source.conversations["sample_id"].to_list() == ["0", "train.jsonl/0"]
    assert source.quarantine["reason"].to_list() == [
        "repeats the sample_id 'train.jsonl/0' of line 1"
    ]


def test_limit_counts_contexts_of_each_split(tmp_path: Path) -> None:
    rows = [row(f"USER: {post}", created_utc=OCTOBER) for post in "aabbc"]
    rows += [row(f"USER: {post}", created_utc=DECEMBER) for post in "xyz"]
    frame = ingest(tmp_path, {"rows.jsonl": rows}, **{"ingest.limit": 2}).conversations
    assert frame.filter(pl.col("split") == "train").height == 4
    assert frame.filter(pl.col("split") == "test").height == 2


def test_parquet_and_datasets_folders_equal_jsonl(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    rows = [row(f"USER: {post}", completion=None) for post in "abc"]
    (tmp_path / "jsonl").mkdir()
    expected = ingest(tmp_path / "jsonl", {"rows.jsonl": rows}).conversations

    (tmp_path / "parquet").mkdir()
    (tmp_path / "parquet" / "catalog.csv").write_text(CATALOG)
    pl.DataFrame(rows).write_parquet(tmp_path / "parquet" / "rows.parquet")
    assert read_data(config(tmp_path / "parquet")).conversations.equals(expected)

    Dataset.from_list(rows).save_to_disk(tmp_path / "one")
    overrides = {"ingest.catalog": str(tmp_path / "parquet" / "catalog.csv")}
    assert read_data(config(tmp_path / "one", **overrides)).conversations.equals(expected)

    splits = {name: Dataset.from_list(rows[i : i + 1]) for i, name in enumerate(("train", "test"))}
    DatasetDict(splits).save_to_disk(tmp_path / "two")
    frame = read_data(config(tmp_path / "two", **overrides)).conversations
    assert frame.select("conversation", "split").rows() == [
        ("USER: a", "train"), ("USER: b", "test"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "part"),
    [
        ({"rows.jsonl": [{"text": "x"}]}, "no column prompt and no column seen_titles"),
        ({"rows.jsonl": ["{", "{"]}, "no usable row in the train split"),
        ({"rows.jsonl": [row(created_utc=DECEMBER)]}, "usable splits: test"),
        ({}, "has no .jsonl or .parquet file"),
        ({"train.jsonl": [row()], "test.jsonl": [row()], "more.jsonl": [row()]}, "also more.jsonl"),
        ({"old.pkl": ["x"]}, "is a pickle"),
        ({"rows.parquet": ["x"]}, "cannot be read as Parquet"),
    ],
)
def test_unusable_input_is_one_sentence(
    tmp_path: Path, files: dict[str, list[Any]], part: str
) -> None:
    with pytest.raises(InputError) as caught:
        ingest(tmp_path, files)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_about_rows_lists_them(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        ingest(tmp_path, {"rows.jsonl": ["{", "{"]})
    assert [name for name, _ in caught.value.rows] == ["rows.jsonl line 1", "rows.jsonl line 2"]
    (tmp_path / "catalog.csv").write_text("title,year\n,1995\n")
    with pytest.raises(InputError) as caught:
        read_data(config(tmp_path))
    assert caught.value.rows == (("line 2", "no title"),)


def test_unusable_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ingest\.path is empty"):
        read_data(load("reddit-v2", {"ingest.path": ""}))
    with pytest.raises(InputError, match="does not exist"):
        read_data(config(tmp_path / "none"))
    with pytest.raises(InputError, match=r"no catalog\.csv"):
        read_data(config(tmp_path))
    (tmp_path / "rows.txt").write_text(CATALOG)
    with pytest.raises(InputError, match="not a conversations file"):
        read_data(config(tmp_path / "rows.txt", **{"ingest.catalog": str(tmp_path / "rows.txt")}))


def test_the_authors_samples(shared: Path) -> None:
    source = read_data(config(shared / "data" / "reddit_v2"))
    frame = source.conversations
    assert frame.height == 76
    assert frame["context_id"].n_unique() == 24
    assert set(frame["split"]) == {"train", "validation", "test"}
    assert frame["completion"].null_count() == 0
    assert source.catalog.height == 7399
    assert source.quarantine.height == 5


@pytest.mark.parametrize(
    "title",
    [
        "He\u200bat",
        "\ufeffHeat",
        "He\u00adat",
        "Heat\uff081995\uff09",
        "\u300aHeat\u300b",
        "\u300cHeat\u300d\uff081995\uff09",
        "&#72;eat",
        "Heat%20(1995)",
    ],
)
def test_titles_are_cleaned_and_named_in_the_id(tmp_path: Path, title: str) -> None:
    plain = ingest(tmp_path, {"rows.jsonl": [row()]})
    inputs = conversations_inputs(config(tmp_path))
    cleaned = ingest(tmp_path, {"rows.jsonl": [row(seen_titles=[title])]})
    seen = cleaned.conversations["seen"][0].to_list()
    assert seen[0]["title"] == plain.conversations["seen"][0].to_list()[0]["title"] == "Heat"
    assert conversations_inputs(config(tmp_path)).keys() - inputs.keys() == {
        "conversations_reading"
    }
