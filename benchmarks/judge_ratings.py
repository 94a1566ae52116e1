"""What a judge's stored ratings are worth: hits by rating, and NDCG by γ.

    python benchmarks/judge_ratings.py FOLDER [--scale 2]

FOLDER has `samples.jsonl` in the Reddit-v2 schema, whose completions are the teacher's lists, and
`judge_ratings.jsonl`: sample_id and `ratings`, from title to rating. An item scores 1/√rank +
γ·rating/L, as Remap's identity and Reflect do. Prints how often items of each rating are a ground
truth, and NDCG for several γ with the mean difference from γ = 0, whose 95% interval resamples
samples. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convrec.metrics.ndcg import ndcg
from convrec.titles.line_format import parse_line
from convrec.titles.normalize import exact_key

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
CUTOFFS = (5, 20)
RESAMPLES = 5000


class RatedList(NamedTuple):
    """The titles of a list as keys, their ratings (None without one), and the ground truth."""

    items: list[str]
    ratings: list[int | None]
    truth: set[str]


def read_lists(folder: Path) -> list[RatedList]:
    def rows(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]

    rated = {
        row["sample_id"]: {exact_key(title): value for title, value in row["ratings"].items()}
        for row in rows("judge_ratings.jsonl")
    }
    lists = []
    for row in rows("samples.jsonl"):
        lines = row["completion"][-1]["content"].split("\n")
        items = [exact_key(title.title) for title in map(parse_line, lines) if title]
        ratings = rated.get(row["sample_id"], {})
        truth = {exact_key(title) for title, _ in row["groundtruth_with_release_year"]}
        lists.append(RatedList(items, [ratings.get(item) for item in items], truth))
    return lists


def values_by_cutoff(lists: list[RatedList], weight: float, scale: int) -> dict[int, np.ndarray]:
    """NDCG of each list, reordered by its scores, at each of CUTOFFS."""
    relevance = np.zeros((len(lists), max(CUTOFFS)))
    for row, rated in enumerate(lists):
        ranks = np.arange(1, len(rated.items) + 1)
        scores = ranks**-0.5 + weight * np.array([r or 0 for r in rated.ratings]) / scale
        for place, item in enumerate(np.argsort(-scores, kind="stable")[: max(CUTOFFS)]):
            relevance[row, place] = rated.items[item] in rated.truth
    sizes = np.array([len(rated.truth) for rated in lists])
    return {cutoff: ndcg(relevance, sizes, cutoff) for cutoff in CUTOFFS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=int, default=2)
    options = parser.parse_args()
    lists = read_lists(options.folder)
    shown, hits = Counter[str](), Counter[str]()
    for rated in lists:
        for item, rating in zip(rated.items, rated.ratings, strict=True):
            name = "none" if rating is None else f"{rating:+d}"
            shown[name] += 1
            hits[name] += item in rated.truth
    by_rating = {name: {"items": shown[name], "hits": hits[name]} for name in sorted(shown)}
    for name, row in by_rating.items():
        share = row["hits"] / row["items"]
        print(f"rating {name:>4}: {row['hits']:3} of {row['items']:4} are wanted ({share:.1%})")
    before = values_by_cutoff(lists, 0.0, options.scale)
    drawn = np.random.default_rng(0).integers(0, len(lists), (RESAMPLES, len(lists)))
    by_weight: dict[str, Any] = {}
    for weight in WEIGHTS:
        values = values_by_cutoff(lists, weight, options.scale)
        cells: dict[str, Any] = {}
        for cutoff in CUTOFFS:
            gains = values[cutoff] - before[cutoff]
            low, high = np.quantile(gains[drawn].mean(axis=1), (0.025, 0.975))
            cells[f"ndcg@{cutoff}"] = round(float(values[cutoff].mean()), 4)
            cells[f"gain@{cutoff}"] = [round(float(x), 4) for x in (gains.mean(), low, high)]
        by_weight[str(weight)] = cells
        print(f"γ = {weight:<4}", "  ".join(f"{name} {value}" for name, value in cells.items()))
    print(json.dumps({"lists": len(lists), "ratings": by_rating, "weights": by_weight}))


if __name__ == "__main__":
    main()
