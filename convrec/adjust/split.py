"""A split as adjust reads it: the candidates, and the samples whose ground truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from convrec.adjust.candidates import link, of_splits

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from convrec.adjust.in_order import InOrder
    from convrec.artifacts import Job


@dataclass(frozen=True)
class Answers:
    """The ground truth of the split `name`.

    `samples` has columns sample, context and size, how many titles the ground truth has: those
    with a ground truth and a list. `truth` has sample, context and item, one row a title of it
    that the catalog has.
    """

    name: str
    samples: pl.DataFrame
    truth: pl.DataFrame


@dataclass(frozen=True)
class Split(Answers):
    """What is known of a split."""

    candidates: InOrder


def read_split(job: Job, name: str, candidates: InOrder) -> Split:
    """The samples of the split `name`, and those of `candidates` that are its own."""
    own = candidates.of_split(name)
    found = read_answers(job, name, own.contexts)
    return Split(name, found.samples, found.truth, own)


def read_answers(job: Job, name: str, contexts: pl.DataFrame) -> Answers:
    """The samples of the split `name` over `contexts` (context_id, context), which hold its own."""
    import polars as pl

    rows = (
        of_splits(job.frame("conversations", "context_id", "split", "ground_truth"), {name})
        .select("context_id", "ground_truth", size=pl.col("ground_truth").list.len())
        .filter(pl.col("size") > 0)
        .join(contexts.select("context_id", "context"), on="context_id")
        .drop("context_id")
        .with_row_index("sample")
    )
    catalog = job.frame("catalog", "item_id", "title", "year")
    truth = link(rows.drop("size"), "ground_truth", catalog).unique()
    return Answers(name, rows.drop("ground_truth"), truth)


def training_mentions(job: Job) -> np.ndarray:
    """How many training samples have each catalog item in their ground truth, candidate or not."""
    import numpy as np

    catalog = job.frame("catalog", "item_id", "title", "year")
    samples = job.frame("conversations", "sample_id", "split", "ground_truth")
    samples = of_splits(samples, {"train"})
    named = link(samples.select("sample_id", "ground_truth"), "ground_truth", catalog).unique()
    return np.bincount(named["item"].to_numpy(), minlength=catalog.height).astype(np.float64)
