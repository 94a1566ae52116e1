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
"""

from __future__ import annotations

from typing import Any

import polars as pl

from convrec.artifacts import StepResult
from convrec.config import Config
from convrec.errors import InputError
from convrec.stages.adjust.figures import popularity_figures, ranking_figures
from convrec.stages.adjust.fit import FitResult, fit_parameters, initial_parameters
from convrec.stages.adjust.ground_truth import ground_truth_counts
from convrec.stages.adjust.loss import ListwiseData, listwise_data, listwise_loss
from convrec.stages.adjust.ordered_candidates import read_ordered_candidates, read_split
from convrec.stages.adjust.popularity_penalty import choose_penalty, log_listing_ratio
from convrec.stages.adjust.top_n import listing_counts, mean_cutoff_score
from convrec.stages.base import Step, StepContext

CUTOFF_SCORE = "score at the cut"
"""Figure with c. At a score of c, the adjustment moves an item by w·c + b − c."""


def _build(ctx: StepContext) -> StepResult:
    n, settings = ctx.config.list_length, ctx.config.adjust
    candidates = read_ordered_candidates(ctx, {"train", "validation"})
    train = read_split(ctx, "train", candidates)
    center = mean_cutoff_score(train.candidates, n)
    train_data = listwise_data(train, center)
    if not train_data.samples:
        raise InputError(
            "adjust has nothing to learn from: no training conversation has a ground truth among "
            "its candidates. Raise remap.keep, or set adjust.enabled=false"
        )
    mentions = ground_truth_counts(ctx)
    listing_ratio = log_listing_ratio(listing_counts(train.candidates, n, len(mentions)))
    validation = read_split(ctx, "validation", candidates)
    validation_data = listwise_data(validation, center)
    fit = fit_parameters(train_data, validation_data, len(mentions), settings, ctx.progress)
    bias = fit.bias + center * (1.0 - fit.weight)
    chosen_on = validation if validation.ground_truth.samples.height else train
    choice = choose_penalty(chosen_on, n, fit.weight, bias, listing_ratio, settings.balance)
    lists, split = {"before": choice.before, "after": choice.after}, chosen_on.ground_truth.split
    figures = {
        **_fit_figures(fit, train_data, validation_data),
        CUTOFF_SCORE: round(center, 6),
        "balance": choice.balance,
        "balance chosen on": split if settings.balance is None else "nothing: it was set",
        "Gini lower beyond noise": str(choice.lowers_gini).lower(),
        **popularity_figures(lists, mentions, split),
        **ranking_figures(lists, chosen_on.ground_truth),
    }
    rows = {
        "item_id": ctx.frame("catalog")["item_id"],
        "weight": fit.weight,
        "bias": bias - choice.balance * listing_ratio,
    }
    return StepResult(pl.DataFrame(rows), figures)


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
    return {**config.adjust.identity_settings(), "list_length": config.list_length}


ADJUSTMENT = Step(stage="adjust", kind="adjustment", version=3, build=_build, config=_config)
