"""Frames with a known bias: the teacher prefers the first items, users name others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from convrec.artifacts import Store
from convrec.config import Config
from convrec.stages.base import StepContext

ITEMS = 30
TITLED = pl.List(pl.Struct({"title": pl.String, "year": pl.Int32}))
SPLITS = {"train": 60, "validation": 60, "test": 20}

Frames = dict[str, pl.DataFrame]


def titled(*numbers: int) -> list[dict[str, Any]]:
    return [{"title": f"Film {n}", "year": 1990 + n} for n in numbers]


def make_adjust_frames(seed: int = 0) -> Frames:
    """Catalog, conversations (some contexts have two samples), candidates, judgments."""
    rng = np.random.default_rng(seed)
    popularity = 1.0 / (1.0 + np.arange(ITEMS))
    samples: list[dict[str, Any]] = []
    candidates: list[dict[str, Any]] = []
    judgments: list[dict[str, Any]] = []
    for split, count in SPLITS.items():
        for number in range(count):
            context = f"{split}{number:03}"
            shown = rng.choice(ITEMS, size=12, replace=False, p=popularity / popularity.sum())
            scores = rng.random(12) + popularity[shown]
            shown, scores = shown[np.argsort(-scores)], np.sort(scores)[::-1]
            for rank, (item, score) in enumerate(zip(shown, scores, strict=True)):
                row = {"context_id": context, "item_id": f"i{item}", "score": float(score)}
                candidates.append({**row, "rank": rank + 1})
                if rank < 6:
                    judgments.append({**row, "score": float(score + rng.normal() / 2)})
            for sample in range(1 + number % 2):
                liked = rng.choice(shown[shown >= 4]) if (shown >= 4).any() else shown[0]
                other = 99 if number % 3 == 0 else int(rng.integers(ITEMS))
                samples.append(
                    {
                        "sample_id": f"{context}/{sample}",
                        "context_id": context,
                        "split": split,
                        "conversation": context,
                        "prompt": None,
                        "seen": titled(int(shown[0])),
                        "ground_truth": titled(*dict.fromkeys([int(liked), other])),
                    }
                )
    return {
        "catalog": pl.DataFrame(
            {
                "item_id": [f"i{n}" for n in range(ITEMS)],
                "title": [f"Film {n}" for n in range(ITEMS)],
                "year": [1990 + n for n in range(ITEMS)],
            }
        ),
        "conversations": pl.DataFrame(
            samples, schema_overrides={"seen": TITLED, "ground_truth": TITLED, "prompt": pl.String}
        ),
        "candidates": pl.DataFrame(candidates),
        "judgments": pl.DataFrame(judgments),
    }


@pytest.fixture
def adjust_frames() -> Frames:
    return make_adjust_frames()


@pytest.fixture
def make_ctx(store: Store) -> Callable[..., StepContext]:
    """A step context over frames; keywords are settings of `adjust`."""

    def make(frames: Frames, **adjust: Any) -> StepContext:
        config = Config.model_validate(
            {"list_length": 5, "reflect": {"top": 6}, "remap": {"keep": 12}, "adjust": adjust}
        )
        return StepContext(config, store, {}, frames=frames)

    return make
