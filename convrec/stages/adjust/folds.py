"""Cross-fitting (`adjust.folds`): a training list is made with the w and b of a fit on other folds.

The fold of a context is that of its dialogue, and of the first by name where it occurs in several.
The fit for a fold leaves out every context that shares a dialogue with a context of the fold.
Validation and test contexts have fold 0, the fit on all training contexts.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from convrec.catalog.exact_matches import filter_splits
from convrec.stages.adjust.ground_truth import GroundTruth
from convrec.stages.adjust.ordered_candidates import SplitData
from convrec.stages.base import StepContext
from convrec.stages.ingest.dialogue_ids import dialogue_ids
from convrec.utils.folds import fold_of


def context_folds(ctx: StepContext, contexts: pl.DataFrame) -> np.ndarray:
    """(contexts,) The fold of each of `contexts` (context_id); 0 outside of the training split."""
    if not ctx.config.adjust.folds:
        return np.zeros(contexts.height, dtype=np.int64)
    folds = _read_dialogues(ctx).select("context_id", "fold").unique()
    rows = contexts.join(folds, on="context_id", how="left", maintain_order="left")
    return rows["fold"].fill_null(0).to_numpy()


def contexts_left_out(ctx: StepContext, contexts: pl.DataFrame) -> dict[int, np.ndarray]:
    """By fold, the numbers of the contexts that its fit leaves out.

    `contexts` (context_id, context) are training contexts. A fold without any is no key.
    """
    dialogues = _read_dialogues(ctx)
    dialogues = dialogues.join(contexts.select("context_id", "context"), on="context_id")
    touched = dialogues.select("dialogue", "fold").unique()
    pairs = dialogues.drop("fold").join(touched, on="dialogue").select("fold", "context").unique()
    by_fold = pairs.sort("fold", "context").partition_by("fold", as_dict=True)
    return {fold: rows["context"].to_numpy() for (fold,), rows in by_fold.items()}


def without_contexts(train: SplitData, left_out: np.ndarray) -> SplitData:
    """The split without the ground truth of some contexts."""
    truth = train.ground_truth
    kept = ~pl.col("context").is_in(left_out)
    return SplitData(
        train.candidates,
        GroundTruth(truth.split, truth.samples.filter(kept), truth.items.filter(kept)),
    )


def _read_dialogues(ctx: StepContext) -> pl.DataFrame:
    """One row for each dialogue of each training context: context_id, dialogue, context's fold."""
    samples = ctx.frame("conversations", "sample_id", "context_id", "split")
    dialogues = (
        filter_splits(samples, {"train"})
        .select("context_id", dialogue=dialogue_ids(ctx.config))
        .unique()
        .sort("context_id", "dialogue")
    )
    first = dialogues.unique("context_id", keep="first", maintain_order=True)
    folds = [fold_of(name, ctx.config.adjust.folds) for name in first["dialogue"]]
    first = first.select("context_id", fold=pl.Series(folds, dtype=pl.Int64))
    return dialogues.join(first, on="context_id")
