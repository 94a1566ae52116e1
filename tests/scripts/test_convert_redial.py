"""ReDial's published dialogues become rows that `ingest.format=reddit-v2` reads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from convrec.config import ROOT, load
from convrec.stages.ingest import read_data

SCRIPT = ROOT / "scripts" / "convert_redial.py"
SEEKER, RECOMMENDER = 7, 8

FILMS = {
    "1": "Super Troopers  (2001)",
    "2": "Police Academy (1984)",
    "3": "Beauty and the Beast (2017)",
    "4": "Star Wars",
    "5": None,
}
MESSAGES = [
    (RECOMMENDER, "Hello! Seen @2?"),  # before the seeker has said anything
    (SEEKER, "Hi I am looking for a movie like @1"),
    (SEEKER, "or @99 "),  # an unknown film
    (RECOMMENDER, "@1 is great. You should watch @3"),
    (RECOMMENDER, "and @4, @5"),
    (SEEKER, "I have seen @3"),
    (RECOMMENDER, "Then @3 again"),  # nothing new
    (SEEKER, "Bye"),
]


def dialogue(number: int, messages: list[tuple[int, str]] = MESSAGES) -> dict[str, Any]:
    questions = {"1": {"suggested": 0, "seen": 1, "liked": 1}}
    return {
        "movieMentions": FILMS,
        "respondentQuestions": questions,
        "messages": [
            {"timeOffset": at, "text": text, "senderWorkerId": worker, "messageId": at}
            for at, (worker, text) in enumerate(messages)
        ],
        "conversationId": str(number),
        "respondentWorkerId": RECOMMENDER,
        "initiatorWorkerId": SEEKER,
        "initiatorQuestions": questions,
    }


def convert(folder: Path, train: list[dict[str, Any]], test: list[dict[str, Any]]) -> Path:
    """Run the script on these dialogues; the folder with its files."""
    for name, dialogues in {"train_data": train, "test_data": test}.items():
        lines = "".join(json.dumps(one) + "\n" for one in dialogues)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    command = [sys.executable, str(SCRIPT), str(folder), str(folder / "out")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder / "out"


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_turn_that_names_new_films_is_a_row(tmp_path: Path) -> None:
    (row,) = rows(convert(tmp_path, [], [dialogue(391)]) / "test.jsonl")
    assert row["sample_id"] == "redial-391_0"
    assert row["prompt"][0]["content"].partition("Here is the conversation: ")[2].split("\n") == [
        "SYSTEM: Hello! Seen Police Academy (1984)?",
        "USER: Hi I am looking for a movie like Super Troopers (2001) or @99",
    ]
    assert row["seen_titles"] == [["Police Academy", "1984"], ["Super Troopers", "2001"]]
    assert row["groundtruth_with_release_year"] == [
        ["Beauty and the Beast", "2017"],
        ["Star Wars", None],
    ]


def test_dialogues_stay_in_one_split(tmp_path: Path) -> None:
    twice = [*MESSAGES, (RECOMMENDER, "And @2? Or @6")]
    train = [
        dialogue(number) | {"movieMentions": FILMS | {"6": "Up (2009)"}} for number in range(99)
    ]
    for one in train:
        one["messages"] = dialogue(0, twice)["messages"]
    out = convert(tmp_path, train, [dialogue(391) | {"movieMentions": []}])
    found = {split: rows(out / f"{split}.jsonl") for split in ("train", "validation", "test")}
    dialogues = {
        split: {row["sample_id"].rpartition("_")[0] for row in of_split}
        for split, of_split in found.items()
    }
    assert found["test"] == []
    assert dialogues["train"].isdisjoint(dialogues["validation"])
    assert len(dialogues["train"] | dialogues["validation"]) == 99
    assert 3 <= len(dialogues["validation"]) <= 20
    assert len(found["train"]) == 2 * len(dialogues["train"])


def test_ingest_reads_the_rows(tmp_path: Path) -> None:
    messages = [[MESSAGES[0], (SEEKER, f"I am {n}"), *MESSAGES[1:]] for n in range(3)]
    out = convert(tmp_path, [dialogue(*numbered) for numbered in enumerate(messages)], [])
    overrides = {
        "ingest.path": str(out),
        "ingest.catalog": "",
        "ingest.catalog_from": "ground_truth",
    }
    data = read_data(load("reddit-v2", overrides))
    assert data.catalog["item_id"].to_list() == ["Beauty and the Beast (2017)", "Star Wars"]
    assert data.conversations["conversation"][0].startswith("SYSTEM: Hello!")
    assert data.quarantine.is_empty()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path), str(tmp_path / "out")]
    with pytest.raises(subprocess.CalledProcessError) as error:
        subprocess.run(command, check=True, capture_output=True, text=True)
    assert "has no train_data.jsonl" in error.value.stderr
