"""Any number of conversations in the Reddit-v2 format, and teacher lists for them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import polars as pl

ITEMS = [(f"Film {number} Of", 1950 + number % 70) for number in range(90)]


def write_generated_posts(folder: Path, count: int) -> None:
    """Write `catalog.csv` and `train.jsonl` with `count` posts, each a context of its own."""
    rng = random.Random(7)
    rows = "".join(f"{title},{year}\n" for title, year in ITEMS)
    (folder / "catalog.csv").write_text(f"title,year\n{rows}")
    with (folder / "train.jsonl").open("w", encoding="utf-8") as posts:
        for number in range(count):
            seen, *truth = rng.sample(ITEMS, 4)
            row = {
                "sample_id": f"train_{number}",
                "prompt": f"USER: post {number}. I liked {seen[0]}.",
                "seen_titles": [seen[0]],
                "groundtruth_with_release_year": [[title, str(year)] for title, year in truth],
            }
            posts.write(json.dumps(row) + "\n")


def generated_teacher_lists(conversations: pl.DataFrame) -> pl.DataFrame:
    """Twenty lines per context; one in five names a title outside the catalog."""
    rng = random.Random(8)
    rows = []
    for context in conversations["context_id"].unique(maintain_order=True):
        outside = [(f"Nowhere {rng.randrange(900)}", 1990) for _ in range(4)]
        listed = [*rng.sample(ITEMS, 16), *outside]
        rng.shuffle(listed)
        rows += [
            (context, rank, f"{rank}. {title} ({year})", title, year)
            for rank, (title, year) in enumerate(listed, start=1)
        ]
    schema = {
        "context_id": pl.String,
        "rank": pl.Int32,
        "line": pl.String,
        "title": pl.String,
        "year": pl.Int32,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
