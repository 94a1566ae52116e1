"""Real GPT-3.5 answers to INSPIRED: links and Recall of the published method and of convrec.

    python benchmarks/inspired_links.py [--links] [--published]

The published method maps each title that the authors' code read to the nearest name within two
edits, drops seen items, and counts each (turn, ground-truth item) pair once; "authors' row" is what
they printed. convrec reads the raw answers with `parse_chat_list`, links them to the INSPIRED
items, and counts the same pairs by item.

The benchmark then counts the links that are not exact: for the published method, the name differs
from the written title; for convrec, the method is not "exact". `--links` prints each distinct one
of ours, `--published` each distinct one of theirs with our link of the same title. All of them were
reviewed by hand: TRUE_TO_TITLE contains the published ones that are the film that was written,
UNSURE those that may be; the others are another film ("Seven" is the one of 1979), a person or a
word. All of ours are the film that was written (SEEN_BY_EYE); review new ones before you add them.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convrec.stages.ingest.dialogues import Entities
from convrec.titles.line_format import parse_chat_list
from convrec.titles.linker import Link, Linker

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "inspired"
CUTOFFS = (1, 5, 10, 20)
EDITS = 2

TRUE_TO_TITLE = frozenset(
    {
        "Ant-Man",
        "Ant-Man and The Wasp",
        "Ant-Man and the Wasp",
        "Hellraiser.",
        "Mission Impossible",
        "Poltergeist.",
        "Rush Hour.",
        "Spider-Man: Into the Spider-Verse",
        "The Dark Knight.",
        "The Intern.",
    }
)
"""Titles whose nearest name within two edits differs, but is the film that was written."""

UNSURE = frozenset({"How the Grinch Stole Christmas"})
"""The name is the television film of 1966; the title may also mean the film of 2000."""

SEEN_BY_EYE = frozenset(
    {
        "Fast and Furious",
        "Fast and Furious 6",
        "Frozen 2",
        "Maze Runner",
        "Mission Impossible",
        "Star Wars: Episode IX - The Rise of Skywalker",
        "Star Wars: Episode VIII - The Last Jedi",
        "The Dark Knight.",
        "The Fantastic Mr. Fox",
        "The Incredibles 2",
        "The Intern.",
    }
)
"""Titles of our links that are not exact; each was reviewed and is the film written."""


@dataclass(frozen=True)
class Turn:
    """One recommendation turn: its ranked names, what was seen, and what was recommended."""

    ranked: Sequence[str]
    seen: frozenset[str]
    wanted: Sequence[str]


def recall(turns: Sequence[Turn]) -> dict[str, float]:
    """Recall@k over (turn, ground-truth item) pairs whose item was not seen."""
    hits, pairs = Counter[int](), 0
    for turn in turns:
        new = [name for name in dict.fromkeys(turn.ranked) if name not in turn.seen]
        for name in turn.wanted:
            if name not in turn.seen:
                pairs += 1
                hits.update(k for k in CUTOFFS if name in new[:k])
    return {f"recall@{k}": round(hits[k] / pairs, 4) for k in CUTOFFS} | {"pairs": pairs}


def rows(name: str) -> list[dict[str, Any]]:
    with (DATA / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def published_turns(extracted: Sequence[dict[str, Any]]) -> list[Turn]:
    return [
        Turn(
            [t["nearest"] for t in row["titles"] if t["edit_distance"] <= EDITS],
            frozenset(row["seen"]),
            row["ground_truth"],
        )
        for row in extracted
    ]


def authors_row() -> dict[str, float]:
    path = DATA / "gpt-3.5-turbo.published_filtered_True_exclude_seen_True.csv"
    with path.open(encoding="utf-8", newline="") as lines:
        row = next(r for r in csv.DictReader(lines) if r["condition"] == "recommendation")
    return {f"recall@{k}": round(float(row[f"recall@{k}_mean"]), 4) for k in CUTOFFS}


def our_turns(
    test: Sequence[dict[str, Any]],
    entities: Entities,
    answers: Mapping[str, str],
    linker: Linker,
) -> tuple[list[Turn], dict[str, Link | None]]:
    """The turns with our links, and the link of each distinct written title."""
    items = frozenset(entities.items)

    def names(numbers: Sequence[int]) -> list[str]:
        return [entities.title(n)["title"] for n in numbers if n in items]

    written = {
        turn: [item.title for _, item in parse_chat_list(text)] for turn, text in answers.items()
    }
    titles = list(dict.fromkeys(t for listed in written.values() for t in listed))
    found = dict(zip(titles, linker.link_many([(t, None) for t in titles]), strict=True))
    turns = []
    for row in test:
        listed = written[f"{row['dialog_id']}/{row['turn_id']}"]
        ranked = [link.title for link in map(found.__getitem__, listed) if link]
        turns.append(Turn(ranked, frozenset(names(row["prev_entity"])), names(row["rec"])))
    return turns, found


def published_links(extracted: Sequence[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """How often each differing (title, nearest name) was linked."""
    titles = (t for row in extracted for t in row["titles"])
    return Counter((t["title"], t["nearest"]) for t in titles if 0 < t["edit_distance"] <= EDITS)


def measure(show_links: bool, show_published: bool) -> dict[str, Any]:
    extracted, test = rows("gpt-3.5-turbo.extracted_titles.jsonl"), rows("test.jsonl")
    answers = {
        row["custom_id"]: row["response"]["body"]["choices"][0]["message"]["content"]
        for row in rows("gpt-3.5-turbo.batch_output.jsonl")
    }
    entities = Entities(DATA / "item_ids.json", DATA / "entity2id.json", years=False)
    linker = Linker(entities.catalog()[0])
    turns, found = our_turns(test, entities, answers, linker)
    ours = {t: link for t, link in found.items() if link and link.method != "exact"}
    theirs = published_links(extracted)
    if show_links:
        for title, link in sorted(ours.items()):
            print(f"{title} -> {link.title} ({link.method}, {link.score})")
    if show_published:
        for (title, nearest), times in sorted(theirs.items()):
            link, verdict = linker.link(title), judged(title)
            print(
                f"{times} x {title} -> {nearest} ({verdict}); ours: {link.title if link else '-'}"
            )
    return {
        "authors' row": authors_row(),
        "published way": recall(published_turns(extracted)),
        "ours": recall(turns),
        "published links not exact, distinct": dict(Counter(judged(title) for title, _ in theirs)),
        "published links not exact, all": dict(Counter(judged(t) for t, _ in theirs.elements())),
        "our titles": dict(Counter(link.method if link else "none" for link in found.values())),
        "our links not exact, distinct": dict(
            Counter("right" if title in SEEN_BY_EYE else "not yet read" for title in ours)
        ),
    }


def judged(title: str) -> str:
    """The review's verdict on the nearest name that the published method links to a title."""
    if title in UNSURE:
        return "cannot tell"
    return "right" if title in TRUE_TO_TITLE else "false"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--links", action="store_true", help="print our links that are not exact")
    parser.add_argument("--published", action="store_true", help="print theirs, together with ours")
    options = parser.parse_args()
    if not DATA.is_dir():
        parser.error("the folder shared/data/inspired next to the checkout is missing")
    result = measure(options.links, options.published)
    for name, value in result.items():
        print(f"{name}: {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
