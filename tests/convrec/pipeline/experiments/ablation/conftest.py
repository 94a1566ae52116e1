"""Nine films. The teacher spells one title differently and lists one outside the catalog."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from convrec.artifacts import Store
from convrec.config import Config, load
from convrec.pipeline.graph import NODES
from convrec.stages.base import StepContext

FILMS = [
    ("Alien", 1979, "space horror monster"),
    ("Heat", 1995, "robbery crime police"),
    ("Ronin", 1998, "robbery crime chase"),
    ("Moon", 2009, "space lonely clone"),
    ("The Thing", 1982, "horror monster ice"),
    ("Big", 1988, "comedy child wish"),
    ("Elf", 2003, "comedy child christmas"),
    ("Speed", 1994, "chase bus bomb"),
    ("Rocky", 1976, "boxing sport"),
]
POSTS = {  # conversation, teacher list, ground truth
    "space": ("space horror", ["Thing, The (1982)", "Nowhere Film (1990)"], ["The Thing", "Alien"]),
    "crime": ("robbery crime", ["Ronin (1998)", "Speed (1994)"], ["Heat", "Ronin"]),
    "child": ("comedy child", ["Big (1988)", "Rocky (1976)"], ["Elf", "Big"]),
}
YEAR = {title: year for title, year, _ in FILMS}


@pytest.fixture
def config() -> Config:
    small = {"list_length": 3, "remap.keep": 6, "reflect.top": 4, "evaluate.bootstrap": 50}
    return load("demo", {**small, "remap.describe": "off"})


@pytest.fixture
def make_ctx(store: Store, config: Config) -> Callable[..., StepContext]:
    """A step context with all that ablation and search read; `ratings` by item id."""

    def make(ratings: dict[str, int] | None = None) -> StepContext:
        frames = ablation_frames()
        for name in ("similarity_basis", "candidates", "candidates_linked", "candidates_similar"):
            node = NODES[name]
            frames[name] = node.step.build(ctx_of(node.adapt(config), store, frames)).rows
        if ratings is not None:
            frames["judgments"] = judged(frames["candidates"], ratings, config)
        return ctx_of(config, store, frames)

    return make


def ctx_of(config: Config, store: Store, frames: dict[str, pl.DataFrame]) -> StepContext:
    return StepContext(config, store, frames=frames)


def ablation_frames() -> dict[str, pl.DataFrame]:
    catalog = pl.DataFrame(
        {
            "item_id": [f"{title} ({year})" for title, year, _ in FILMS],
            "title": [title for title, _, _ in FILMS],
            "year": pl.Series([year for _, year, _ in FILMS], dtype=pl.Int32),
            "aliases": [[] for _ in FILMS],
            "genres": [[] for _ in FILMS],
            "text": [text for _, _, text in FILMS],
        },
        schema_overrides={"aliases": pl.List(pl.String), "genres": pl.List(pl.String)},
    )
    samples: list[dict[str, Any]] = []
    lists: list[dict[str, Any]] = []
    for split in ("train", "validation", "test"):
        for name, (conversation, lines, truth) in POSTS.items():
            context = f"{split}-{name}"
            samples.append(
                {
                    "sample_id": context,
                    "context_id": context,
                    "split": split,
                    "created_utc": 1,
                    "conversation": conversation,
                    "prompt": conversation,
                    "seen": [],
                    "ground_truth": [{"title": t, "year": YEAR[t]} for t in truth],
                    "completion": "",
                }
            )
            for rank, line in enumerate(lines, start=1):
                title, _, year = line.rstrip(")").rpartition(" (")
                row = {"context_id": context, "rank": rank, "line": line, "title": title}
                lists.append({**row, "year": int(year)})
    titled = pl.List(pl.Struct({"title": pl.String, "year": pl.Int32}))
    return {
        "catalog": catalog,
        "conversations": pl.DataFrame(
            samples, schema_overrides={"seen": titled, "ground_truth": titled}
        ),
        "teacher_lists": pl.DataFrame(lists, schema_overrides={"rank": pl.Int32, "year": pl.Int32}),
    }


def judged(candidates: pl.DataFrame, ratings: dict[str, int], config: Config) -> pl.DataFrame:
    top = candidates.filter(pl.col("rank") <= config.reflect.top)
    rating = pl.col("item_id").replace_strict(ratings, default=0).cast(pl.Float64)
    return top.select(
        "context_id",
        "item_id",
        rating=rating,
        score=pl.col("score") + config.reflect.weight * rating / config.reflect.scale,
    )
