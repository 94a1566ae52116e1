"""Convert ReDial's published dialogues into the Reddit-v2 schema.

    python scripts/convert_redial.py FOLDER data/redial_full

FOLDER has `train_data.jsonl` and `test_data.jsonl` as https://redialdata.github.io/website/
publishes them. The second folder gets train.jsonl, validation.jsonl and test.jsonl, for
`ingest.format=reddit-v2`. ReDial (Li et al. 2018) is CC BY 4.0.

A row is a turn of the recommender that names a film for the first time in the dialogue.
These films are its ground truth, the films named before it are seen, and the turns before it are
the conversation. Validation has about a tenth of the training dialogues, by a hash of their id.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any

INSTRUCTION = (
    "Recommend movies to the user of this conversation. Name one movie a line, the best first, "
    "each as Title (year).\nHere is the conversation: "
)
VALIDATION_PART = 10
"""One of so many training dialogues is for validation."""

_MENTION = re.compile(r"@(\d+)")
_DATED = re.compile(r"(?P<title>.*\S)\s*\((?P<year>\d{4})\)")

Row = dict[str, Any]


def dialogue_rows(dialogue: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of one published dialogue, in order."""
    films = _films(dialogue["movieMentions"])
    seeker = dialogue["initiatorWorkerId"]
    turns: list[str] = []
    named: dict[str, None] = {}
    count, has_request = 0, False
    for is_seeker, messages in groupby(
        dialogue["messages"], key=lambda message: message["senderWorkerId"] == seeker
    ):
        text = " ".join(_clean(message["text"] or "") for message in messages)
        mentioned = dict.fromkeys(films[film] for film in _MENTION.findall(text) if film in films)
        new = [name for name in mentioned if name not in named]
        if new and not is_seeker and has_request:
            yield {
                "sample_id": f"redial-{dialogue['conversationId']}_{count}",
                "prompt": [{"role": "user", "content": INSTRUCTION + "\n".join(turns)}],
                "seen_titles": [_title_and_year(name) for name in named],
                "groundtruth_with_release_year": [_title_and_year(name) for name in new],
            }
            count += 1
        named |= mentioned
        has_request = has_request or is_seeker
        shown = _MENTION.sub(lambda match: films.get(match[1], match[0]), text)
        turns.append(f"{'USER' if is_seeker else 'SYSTEM'}: {shown}")


def split_of(dialogue: Mapping[str, Any]) -> str:
    """Whether a training dialogue is for train or validation, by a hash of its id."""
    key = str(dialogue["conversationId"]).encode()
    part = int.from_bytes(blake2b(key, digest_size=8).digest(), "big") % VALIDATION_PART
    return "train" if part else "validation"


def convert(source: Path, target: Path) -> dict[str, int]:
    """Write the three files and return the number of rows in each."""
    dialogues = {name: list(_read(source / f"{name}_data.jsonl")) for name in ("train", "test")}
    by_split: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    for dialogue in dialogues["train"]:
        by_split[split_of(dialogue)] += dialogue_rows(dialogue)
    for dialogue in dialogues["test"]:
        by_split["test"] += dialogue_rows(dialogue)
    target.mkdir(parents=True, exist_ok=True)
    for split, rows in by_split.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (target / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return {split: len(rows) for split, rows in by_split.items()}


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


def _films(mentions: Any) -> dict[str, str]:
    """Film id → name. The field is an object, or an empty list if no film is named."""
    return {film: _clean(name) for film, name in dict(mentions).items() if name and name.strip()}


def _clean(text: str) -> str:
    return " ".join(text.split())


def _title_and_year(name: str) -> list[str | None]:
    """[title, year] of "Title (year)"; the year is None if the name has none."""
    match = _DATED.fullmatch(name)
    return [match["title"], match["year"]] if match else [name, None]


def main() -> None:
    """Convert the folder that the command line names."""
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("source", type=Path, help="folder with train_data.jsonl, test_data.jsonl")
    parser.add_argument("target", type=Path, help="folder for the converted files")
    options = parser.parse_args()
    for name in ("train_data.jsonl", "test_data.jsonl"):
        if not (options.source / name).is_file():
            parser.error(
                f"{options.source} has no {name}; give the folder of the unpacked download"
            )
    for split, rows in convert(options.source, options.target).items():
        print(f"{split:<10} {rows:>7,} rows  {options.target / split}.jsonl")


if __name__ == "__main__":
    main()
