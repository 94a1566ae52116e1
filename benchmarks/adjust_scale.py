"""adjust at the size of Reddit-v2: seconds by part, and peak memory.

    python benchmarks/adjust_scale.py [--contexts 95753] [--candidates 50] [--items 7404]

Creates random frames of that shape in memory (item popularity falls as 1/rank; half of the samples
have a ground truth among their candidates) and runs both steps of adjust on them: the adjustment,
including its fit and the choice of κ, and the demonstrations. The last line is JSON. Goals: a
couple of minutes, and less than 4 GB including the frames.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from convrec.artifacts import Store
from convrec.config import Config
from convrec.stages.adjust import (
    ADJUSTMENT,
    DEMONSTRATIONS,
    adjustment,
    popularity_penalty,
)
from convrec.stages.base import StepContext

TITLED = pl.List(pl.Struct({"title": pl.String, "year": pl.Int32}))
RATED = 30
Frames = dict[str, pl.DataFrame]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contexts", type=int, default=95_753)
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--items", type=int, default=7_404)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    frames = make_frames(options.contexts, options.candidates, options.items, options.seed)
    figures: dict[str, Any] = {"contexts": options.contexts, "frames_mb": peak_mb()}
    seconds = timed()
    config = Config.model_validate({"remap": {"keep": max(options.candidates, RATED)}})
    with tempfile.TemporaryDirectory() as folder:
        ctx = StepContext(config, Store(Path(folder)), {}, frames=frames)
        started = time.perf_counter()
        fitted = ADJUSTMENT.build(ctx)
        seconds["adjustment"] = time.perf_counter() - started
        ctx = StepContext(config, ctx.store, {}, frames={**frames, "adjustment": fitted.rows})
        started = time.perf_counter()
        demonstrations = DEMONSTRATIONS.build(ctx)
        seconds["demonstrations"] = time.perf_counter() - started
    figures["seconds"] = {name: round(value, 1) for name, value in seconds.items()}
    figures["total_seconds"] = round(seconds["adjustment"] + seconds["demonstrations"], 1)
    figures["peak_mb"] = peak_mb()
    figures["lists"] = demonstrations.rows.height
    figures["adjustment"] = dict(fitted.figures)
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(json.dumps(figures))


def timed() -> dict[str, float]:
    """Seconds by part; the fit and the choice of κ add theirs when they run."""
    seconds: dict[str, float] = {}
    for name in (
        "read_ordered_candidates",
        "read_split",
        "listwise_data",
        "fit_parameters",
        "choose_penalty",
    ):
        inner = getattr(adjustment, name)

        def outer(*args: Any, _name: str = name, _inner: Any = inner, **more: Any) -> Any:
            started = time.perf_counter()
            made = _inner(*args, **more)
            part = f"of which {_name}"
            seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - started
            return made

        setattr(adjustment, name, outer)
    rise = popularity_penalty.gini_change_bound

    def gini_rise(*args: Any) -> float:
        started = time.perf_counter()
        found = rise(*args)
        part = "of which gini_rise"
        seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - started
        return found

    popularity_penalty.gini_change_bound = gini_rise
    return seconds


def make_frames(contexts: int, width: int, items: int, seed: int) -> Frames:
    """Catalog, conversations, candidates with all of their columns, judgments."""
    rng = np.random.default_rng(seed)
    owners = pl.Series([f"{n:016x}" for n in range(contexts)])
    ids = pl.Series([f"A Title of Some Length {n} ({1950 + n % 70})" for n in range(items)])
    shown = draw(rng, contexts, width, items)
    score = -np.sort(-rng.random((contexts, width)) * 1.5, axis=1)
    flat = shown.ravel()
    number = np.repeat(np.arange(contexts), width)
    rank = np.tile(np.arange(1, width + 1, dtype=np.int32), contexts)
    candidates = pl.DataFrame(
        {
            "context_id": owners.gather(number),
            "rank": rank,
            "item_id": ids.gather(flat),
            "score": score.ravel(),
            "identity": score.ravel(),
            "similarity": score.ravel(),
            "conversation": score.ravel(),
            "linked_from": ids.gather(flat),
            "link_method": pl.repeat("exact", len(flat), eager=True),
            "link_score": score.ravel(),
            "runner_up": ids.gather(flat),
            "runner_up_score": score.ravel(),
        }
    )
    rated = candidates.filter(pl.col("rank") <= RATED).select("context_id", "item_id", "score")
    moved = rated["score"] + rng.integers(-2, 3, size=rated.height) / 4
    return {
        "catalog": pl.DataFrame(
            {
                "item_id": ids,
                "title": [f"A Title of Some Length {n}" for n in range(items)],
                "year": [1950 + n % 70 for n in range(items)],
            }
        ),
        "conversations": make_samples(rng, owners, shown, items),
        "candidates": candidates,
        "judgments": rated.with_columns(moved.alias("score")),
    }


def draw(rng: np.random.Generator, contexts: int, width: int, items: int) -> np.ndarray:
    """(contexts, width) distinct items, popular ones more often (Gumbel top-k in chunks)."""
    logs = -np.log(np.arange(1, items + 1) + 20.0)
    shown = np.empty((contexts, width), dtype=np.int64)
    for start in range(0, contexts, 2000):
        count = min(2000, contexts - start)
        keys = logs - np.log(rng.exponential(size=(count, items)))
        shown[start : start + count] = np.argpartition(-keys, width, axis=1)[:, :width]
    return shown


def make_samples(
    rng: np.random.Generator, owners: pl.Series, shown: np.ndarray, items: int
) -> pl.DataFrame:
    """One sample per context, two for every third: two seen titles, three in the ground truth."""
    contexts, width = shown.shape
    of = np.sort(np.concatenate([np.arange(contexts), np.arange(0, contexts, 3)]))
    truth = rng.integers(items, size=(len(of), 3))
    hit = rng.random(len(of)) < 0.5
    truth[hit, 0] = shown[of[hit], rng.integers(width, size=hit.sum())]
    seen = shown[of][:, :2]
    split = np.array(["train"] * 18 + ["validation", "test"])[of % 20]
    return pl.DataFrame(
        {
            "sample_id": [f"s{n}" for n in range(len(of))],
            "context_id": owners.gather(of),
            "split": split,
            "conversation": pl.repeat("", len(of), eager=True),
            "prompt": pl.repeat("", len(of), eager=True),
            "seen": titled(seen),
            "ground_truth": titled(truth),
        }
    )


def titled(numbers: np.ndarray) -> pl.Series:
    rows = [
        [{"title": f"A Title of Some Length {n}", "year": 1950 + n % 70} for n in row]
        for row in numbers.tolist()
    ]
    return pl.Series(rows, dtype=TITLED)


def peak_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
