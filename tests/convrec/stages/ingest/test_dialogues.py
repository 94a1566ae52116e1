from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convrec.config import Config, load
from convrec.errors import InputError
from convrec.stages.ingest import IngestedData, read_data
from convrec.stages.ingest.dialogues import parse_dbpedia_name

NAMES = {
    "<http://dbpedia.org/resource/Heat_(1995_film)>": 0,
    "<http://dbpedia.org/resource/Ronin_(film)>": 1,
    "<http://dbpedia.org/resource/Drama>": 2,
    "<http://dbpedia.org/resource/Heat_(novel)>": 3,
}


def turn(dialog: str, number: int, **values: Any) -> dict[str, Any]:
    return {
        "dialog_id": dialog,
        "turn_id": number,
        "input": "\nSystem: Hi\nUser: Crime please\nSystem: ",
        "rec": [0],
        "prev_entity": [2, 1],
    } | values


def config(folder: Path, profile: str = "redial") -> Config:
    return load(profile, {"ingest.path": str(folder), "ingest.format": profile.split("-")[0]})


def ingest(folder: Path, turns: list[dict[str, Any]], profile: str = "redial") -> IngestedData:
    (folder / "item_ids.json").write_text(json.dumps([0, 1, 3]))
    (folder / "entity2id.json").write_text(json.dumps(NAMES))
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, turns)))
    return read_data(config(folder, profile))


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("<http://dbpedia.org/resource/Tomorrow_(1972_film)>", ("Tomorrow", 1972)),
        ("<http://dbpedia.org/resource/Hoffa_(film)>", ("Hoffa", None)),
        ("<http://dbpedia.org/resource/Neighbors_(2014_American_film)>", ("Neighbors", 2014)),
        ("<http://dbpedia.org/resource/True_Blood_(season_1)>", ("True Blood", None)),
        ("<http://dbpedia.org/resource/River_(Bishop_Briggs_song)>", ("River", None)),
        ("<http://dbpedia.org/resource/Am%C3%A9lie>", ("Amélie", None)),
        ("<http://dbpedia.org/resource/Goldfinger>", ("Goldfinger", None)),
        (
            "<http://dbpedia.org/resource/Birdman_or_(The_Unexpected_Virtue_of_Ignorance)>",
            ("Birdman or (The Unexpected Virtue of Ignorance)", None),
        ),
    ],
)
def test_dbpedia_names(name: str, title: tuple[str, int | None]) -> None:
    assert parse_dbpedia_name(name) == title


def test_a_turn_is_a_sample_with_its_own_context(tmp_path: Path) -> None:
    source = ingest(tmp_path, [turn("d1", 4)])
    sample = source.conversations.row(0, named=True)
    assert sample["sample_id"] == sample["context_id"] == "d1/4"
    assert sample["conversation"] == "System: Hi\nUser: Crime please"
    assert sample["ground_truth"] == [{"title": "Heat", "year": 1995}]
    assert sample["seen"] == [{"title": "Ronin", "year": None}]
    assert (sample["prompt"], sample["completion"]) == (None, None)
    assert source.catalog["item_id"].to_list() == ["Heat (1995)", "Ronin", "Heat"]


def test_equal_inspired_titles_are_one_item(tmp_path: Path) -> None:
    source = ingest(tmp_path, [turn("d1", 1, rec=[0, 3])], "inspired-replay")
    assert source.catalog["item_id"].to_list() == ["Heat", "Ronin"]
    assert source.conversations["ground_truth"][0].to_list() == [{"title": "Heat", "year": None}]
    assert source.quarantine.select("source", "line").rows() == [("item_ids.json", 3)]


def test_a_dialogue_is_in_one_split(tmp_path: Path) -> None:
    turns = [turn(f"d{d}", n) for d in range(30) for n in range(3)]
    frame = ingest(tmp_path, turns).conversations
    dialogues = frame.with_columns(dialogue=frame["sample_id"].str.split("/").list.first())
    assert dialogues.group_by("dialogue").agg(dialogues["split"].n_unique()).height == 30
    per_dialogue = dialogues.select("dialogue", "split").unique()
    assert per_dialogue.height == 30
    assert set(per_dialogue["split"]) == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"input": "\nSystem: "}, "empty conversation"),
        ({"rec": [2]}, "no item among rec"),
        ({"rec": None}, "no rec"),
        ({"rec": 0}, "rec is not a list"),
        ({"input": 7}, "input is not text"),
        ({"turn_id": 1}, "repeats the turn d1/1 of line 1"),
    ],
)
def test_a_bad_turn_is_quarantined(tmp_path: Path, values: dict[str, Any], reason: str) -> None:
    source = ingest(tmp_path, [turn("d1", 1), turn("d1", 2, **values)])
    assert source.conversations["sample_id"].to_list() == ["d1/1"]
    assert source.quarantine.select("line", "reason").rows() == [(2, reason)]


def test_unusable_input_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no item_ids\.json"):
        read_data(config(tmp_path))
    with pytest.raises(InputError, match="no column input"):
        ingest(tmp_path, [{"text": "x"}])
    (tmp_path / "item_ids.json").write_text("[99]")
    with pytest.raises(InputError, match="no name for item 99"):
        read_data(config(tmp_path))
    (tmp_path / "item_ids.json").write_text('{"a": 1}')
    with pytest.raises(InputError, match="not a list of entity numbers"):
        read_data(config(tmp_path))


def test_inspired(shared: Path) -> None:
    source = read_data(config(shared / "data" / "inspired", "inspired-replay"))
    assert source.conversations.height == 227
    assert source.conversations["context_id"].n_unique() == 227
    assert source.catalog.height == 1109
    assert source.catalog["year"].null_count() == 1109
    names = set(source.catalog["title"])
    truths = source.conversations["ground_truth"].explode().struct.field("title")
    assert truths.null_count() == 0
    assert set(truths) <= names


def test_redial(shared: Path) -> None:
    source = read_data(config(shared / "data" / "redial"))
    assert source.conversations.height == 2519
    assert source.catalog.height == 6245
    assert set(source.quarantine["reason"].str.slice(0, 7)) == {"empty c", "repeats"}
