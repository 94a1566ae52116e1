"""Remap over descriptions against Remap over titles: the candidates' NDCG and Recall.

    python benchmarks/descriptions.py PROFILE [--describe facts missing all] [--cutoff 20]
        [--home FOLDER] [--set section.key=value ...]

Runs the profile until remap with `remap.describe=off` and with each value of --describe, and scores
the first N unseen candidates of every sample, of all splits: Remap is not trained. Differences are
paired; their 95% intervals resample contexts. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from convrec.config import parse_overrides

RESAMPLES = 2000


def scores(store: Any, artifacts: dict[str, str], cutoff: int) -> pl.DataFrame:
    """NDCG and Recall of the candidates for each sample: context_id, ndcg, recall."""
    from convrec.catalog.exact_matches import ItemLinker
    from convrec.metrics.ndcg import ndcg
    from convrec.metrics.recall import recall

    catalog = store.read(artifacts["catalog"])
    samples = store.read(artifacts["conversations"], "context_id", "seen", "ground_truth")
    samples = samples.with_row_index("sample").filter(pl.col("ground_truth").list.len() > 0)
    linker = ItemLinker(catalog)
    rows = catalog.select("item_id").with_row_index("item")
    candidates = store.read(artifacts["candidates"], "context_id", "rank", "item_id")
    candidates = candidates.join(rows, on="item_id").drop("item_id")
    listed = samples.select("sample", "context_id").join(candidates, on="context_id")
    seen = linker.link(samples.select("sample", "seen"), "seen", to_all=True)
    listed = listed.join(seen, on=["sample", "item"], how="anti").sort("sample", "rank")
    place = pl.int_range(pl.len()).over("sample")
    listed = listed.with_columns(place=place).filter(pl.col("place") < cutoff)
    hits = listed.join(
        linker.link(samples.select("sample", "ground_truth"), "ground_truth").unique(),
        on=["sample", "item"],
        how="semi",
    )
    number = {sample: row for row, sample in enumerate(samples["sample"])}
    relevance = np.zeros((samples.height, cutoff))
    for sample, at in hits.select("sample", "place").iter_rows():
        relevance[number[sample], at] = 1.0
    sizes = samples["ground_truth"].list.len().to_numpy().astype(np.int64)
    return samples.select("context_id").with_columns(
        ndcg=ndcg(relevance, sizes, cutoff), recall=recall(relevance, sizes, cutoff)
    )


def interval(values: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """The 95% bootstrap interval of a mean, resampling groups."""
    rng, count = np.random.default_rng(0), int(groups.max()) + 1
    sums, sizes = np.bincount(groups, values, count), np.bincount(groups, minlength=count)
    drawn = rng.integers(0, count, (RESAMPLES, count))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return round(float(low), 4), round(float(high), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile")
    parser.add_argument("--describe", nargs="+", default=["all"])
    parser.add_argument("--cutoff", type=int, default=20)
    parser.add_argument("--home", type=Path, help="Use this warehouse and keep it.")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    options = parser.parse_args()
    from flows.cli import environment

    environment()
    with tempfile.TemporaryDirectory() as empty:
        home = (options.home or Path(empty)).resolve()
        os.environ["CONVREC_HOME"] = str(home)
        os.environ.setdefault("PREFECT_HOME", str(Path(empty) / "prefect"))
        from convrec.artifacts import Store
        from flows.pipeline import pipeline

        found: dict[str, Any] = {}
        before: pl.DataFrame | None = None
        for describe in ("off", *options.describe):
            overrides = {**parse_overrides(options.set), "remap.describe": describe}
            summary = pipeline(profile=options.profile, overrides=overrides, until="remap")
            artifacts = {e["kind"]: e["artifact_id"] for e in summary["stages"]}
            values = scores(Store(home), artifacts, options.cutoff)
            groups = values["context_id"].rank("dense").to_numpy().astype(np.int64) - 1
            before = values if before is None else before
            found[describe] = {"samples": values.height, "candidates": artifacts["candidates"]}
            for metric in ("ndcg", "recall"):
                mean = values[metric].to_numpy()
                gain = mean - before[metric].to_numpy()
                found[describe] |= {
                    metric: round(float(mean.mean()), 4),
                    f"{metric} gain": round(float(gain.mean()), 4),
                    f"{metric} gain interval": interval(gain, groups),
                }
    print(f"\n{'describe':10}{'NDCG':>8}{'gain':>9}{'95%':>20}{'Recall':>9}{'gain':>9}{'95%':>20}")
    for name, row in found.items():
        cells = [
            f"{row[m]:>8.3f}{row[f'{m} gain']:>+9.3f}{row[f'{m} gain interval']!s:>20}"
            for m in ("ndcg", "recall")
        ]
        print(f"{name:10}{''.join(cells)}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
