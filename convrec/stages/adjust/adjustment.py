"""The adjustment artifact: w and b of s_final = w ⊙ s_reflect + b, one of each per catalog item.

It is learned in two steps from the ground truth of training conversations:

1. `convrec.stages.adjust.fit` minimizes the listwise loss and finds w and b₁ in
   s_final − c = w·(s_reflect − c) + b₁. The center c is the mean score at rank N of the training
   lists, so that w scales an item's scores on both sides of the cutoff: a popular item rises where
   it fits and does not enter more lists. b₁ alone could push an item into every list; it is
   regularized much harder than w.
2. `convrec.stages.adjust.popularity_penalty` subtracts κ·log((q + q̄) / 2q̄), with q the number of
   training lists that contain the item.

The rows hold both in one: b = b₁ + c·(1 − w) − κ·log((q + q̄) / 2q̄).

Departures from the paper: the softmax runs over a context's candidates and not over the whole
catalog; w and b have separate regularization strengths (the paper has .01 for both); the center
and the penalty are ours. Without them (c = 0, κ = 0, equal strengths) ranking is slightly better
and the popularity Gini doubles, because ground truth is popular as well. The test split is never
read: neither its samples nor its candidates.

With `adjust.folds` there are rows of each fold as well (`convrec.stages.adjust.folds`); their
item_id is as from `convrec.utils.folds.fold_item_id`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from convrec.artifacts import StepResult
from convrec.config import Adjust, Config
from convrec.errors import InputError
from convrec.stages.adjust.figures import popularity_figures, ranking_figures
from convrec.stages.adjust.fit import FitResult, fit_parameters, initial_parameters
from convrec.stages.adjust.folds import contexts_left_out, without_contexts
from convrec.stages.adjust.ground_truth import ground_truth_counts, seen_inputs
from convrec.stages.adjust.loss import ListwiseData, listwise_data, listwise_loss
from convrec.stages.adjust.ordered_candidates import (
    SplitData,
    read_ordered_candidates,
    read_split,
)
from convrec.stages.adjust.popularity_penalty import (
    PenaltyChoice,
    choose_penalty,
    log_listing_ratio,
)
from convrec.stages.adjust.top_n import listing_counts, mean_cutoff_score
from convrec.stages.base import Step, StepContext
from convrec.stages.catalog_titles import alias_inputs
from convrec.stages.ingest.dialogue_ids import dialogue_pattern
from convrec.utils.folds import fold_item_id
from convrec.utils.progress import Progress

CUTOFF_SCORE = "score at the cut"
"""Figure with c. At a score of c, the adjustment moves an item by w·c + b − c."""


class _Inputs(NamedTuple):
    """What all fits share. `center` is c, `listed` how often each item is listed, (items,)."""

    settings: Adjust
    list_length: int
    validation: SplitData
    validation_data: ListwiseData
    center: float
    listed: np.ndarray


class _Fitted(NamedTuple):
    """w and b of one fit, (items,), and how they were found."""

    weight: np.ndarray
    bias: np.ndarray
    fit: FitResult
    train_data: ListwiseData
    choice: PenaltyChoice
    chosen_on: SplitData


def _build(ctx: StepContext) -> StepResult:
    candidates = read_ordered_candidates(ctx, {"train", "validation"})
    train, validation = (read_split(ctx, split, candidates) for split in ("train", "validation"))
    mentions = ground_truth_counts(ctx)
    inputs = _shared_inputs(ctx, train, validation, len(mentions))
    whole = _fit(train, inputs, ctx.progress)
    fitted = {0: whole}
    if ctx.config.adjust.folds:
        for fold, left_out in contexts_left_out(ctx, train.candidates.contexts).items():
            fitted[fold] = _fit(without_contexts(train, left_out), inputs, ctx.progress)
    rows = [_rows(fold, one, ctx.frame("catalog")["item_id"]) for fold, one in fitted.items()]
    lists = {"before": whole.choice.before, "after": whole.choice.after}
    truth, is_set = whole.chosen_on.ground_truth, ctx.config.adjust.balance is not None
    figures = {
        **_fit_figures(whole.fit, whole.train_data, inputs.validation_data),
        CUTOFF_SCORE: round(inputs.center, 6),
        "balance": whole.choice.balance,
        "balance chosen on": "nothing: it was set" if is_set else truth.split,
        "Gini lower beyond noise": str(whole.choice.lowers_gini).lower(),
        **popularity_figures(lists, mentions, truth.split),
        **ranking_figures(lists, truth),
        **({"folds": len(fitted) - 1} if ctx.config.adjust.folds else {}),
    }
    return StepResult(pl.concat(rows), figures)


def _shared_inputs(
    ctx: StepContext, train: SplitData, validation: SplitData, items: int
) -> _Inputs:
    """What follows from candidates alone, and the data of validation."""
    n = ctx.config.list_length
    center = mean_cutoff_score(train.candidates, n)
    return _Inputs(
        settings=ctx.config.adjust,
        list_length=n,
        validation=validation,
        validation_data=listwise_data(validation, center),
        center=center,
        listed=listing_counts(train.candidates, n, items),
    )


def _fit(train: SplitData, inputs: _Inputs, progress: Progress) -> _Fitted:
    """Learn w and b from the ground truth of `train`. Raises InputError if it has none."""
    settings, validation = inputs.settings, inputs.validation
    train_data = listwise_data(train, inputs.center)
    if not train_data.samples:
        fewer = ", lower adjust.folds" if settings.folds else ""
        raise InputError(
            "adjust has nothing to learn from: no training conversation has a ground truth among "
            f"its candidates. Raise remap.keep{fewer}, or set adjust.enabled=false"
        )
    ratio = log_listing_ratio(inputs.listed)
    fit = fit_parameters(train_data, inputs.validation_data, len(ratio), settings, progress)
    bias = fit.bias + inputs.center * (1.0 - fit.weight)
    chosen_on = validation if validation.ground_truth.samples.height else train
    choice = choose_penalty(
        chosen_on, inputs.list_length, fit.weight, bias, ratio, settings.balance
    )
    bias = bias - choice.balance * ratio
    return _Fitted(fit.weight, bias, fit, train_data, choice, chosen_on)


def _rows(fold: int, fitted: _Fitted, item_ids: pl.Series) -> pl.DataFrame:
    names = [fold_item_id(fold, item) for item in item_ids] if fold else item_ids
    return pl.DataFrame({"item_id": names, "weight": fitted.weight, "bias": fitted.bias})


def _fit_figures(
    fit: FitResult, train: ListwiseData, validation: ListwiseData
) -> dict[str, float | int | str]:
    reason = fit.stop_reason
    figures: dict[str, float | int | str] = {
        "samples": train.samples,
        "validation samples": validation.samples,
        "iterations": fit.iterations,
        "iteration kept": fit.best_iteration,
        "ended": reason if validation.samples else f"{reason}, without validation to stop early",
    }
    points = {"before": initial_parameters(len(fit.weight)), "after": fit.parameters}
    for name, data in (("train", train), ("validation", validation)):
        if data.samples:
            for when, parameters in points.items():
                figures[f"{name} loss {when}"] = round(listwise_loss(parameters, data)[0], 4)
    return figures


def _config(config: Config) -> dict[str, Any]:
    settings = config.adjust.identity_settings(exclude={"ground_truth_first"})
    if config.adjust.folds:
        settings["dialogue"] = dialogue_pattern(config)
    return {**settings, "list_length": config.list_length}


ADJUSTMENT = Step(
    stage="adjust",
    kind="adjustment",
    version=3,
    build=_build,
    config=_config,
    inputs=lambda ctx: seen_inputs(ctx) | alias_inputs(ctx),
)
