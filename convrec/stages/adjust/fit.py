"""The adjustment: w and b, one a catalog item, from the ground truth of training conversations.

1. `convrec.stages.adjust.loss` on the train split, stopped early on validation
   (`convrec.stages.adjust.optimise`), finds w and b₁ in s_final − c = w·(s_reflect − c) + b₁. The
   centre c is the mean score at the end of the training lists (rank N). So w says how much an
   item's fit counts on either side of the cut: an item that the crowd likes rises where it fits,
   and does not enter more lists. b₁ alone would bring that about, and is pulled to 0 much harder
   than w to 1.
2. `convrec.stages.adjust.popularity_penalty` takes out the teacher's popularity bias.

The table holds both in one: s_final = w ⊙ s_reflect + b with b = b₁ + c·(1 − w) − κ·log(…). A plain
fit (c = 0, equal pulls, no balance) ranks a little better and doubles the Gini: ground truth is
popular too, and softmax puts the crowd's favourites where the teacher's were. The test split is
never read: neither its samples nor its candidates. The paper gives s_final and the data that it is
learned on; the pulls, the centre and the balance are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.artifacts import StepResult
from convrec.errors import InputError
from convrec.stages.adjust.figures import popularity_figures, ranking_figures
from convrec.stages.adjust.item_links import training_mentions
from convrec.stages.adjust.loss import Listwise, listwise, listwise_loss
from convrec.stages.adjust.optimise import Fit, fit, start
from convrec.stages.adjust.ordered_candidates import read_ordered_candidates
from convrec.stages.adjust.popularity_penalty import choose, excess
from convrec.stages.adjust.split import read_split
from convrec.stages.adjust.top_n import cut_score, times_listed
from convrec.stages.base import Step, StepContext

if TYPE_CHECKING:
    from convrec.config import Config


CUT = "score at the cut"
"""The figure with c, at which w·s + b − s is what the adjustment does to an item."""


def _build(ctx: StepContext) -> StepResult:
    import polars as pl

    n, settings = ctx.config.list_length, ctx.config.adjust
    candidates = read_ordered_candidates(ctx, {"train", "validation"})
    train = read_split(ctx, "train", candidates)
    centre = cut_score(train.candidates, n)
    data = listwise(train, centre)
    if not data.samples:
        raise InputError(
            "adjust has nothing to learn from: no training conversation has a ground truth among "
            "its candidates; raise remap.keep, or set adjust.enabled=false"
        )
    mentions = training_mentions(ctx)
    favour = excess(times_listed(train.candidates, n, len(mentions)))
    validation = read_split(ctx, "validation", candidates)
    held_out = listwise(validation, centre)
    made = fit(data, held_out, len(mentions), settings, ctx.progress)
    bias = made.bias + centre * (1.0 - made.weight)
    by = validation if validation.samples.height else train
    choice = choose(by, n, made.weight, bias, favour, settings.balance)
    tops = {"before": choice.before, "after": choice.after}
    figures = {
        **_fit_figures(made, data, held_out),
        CUT: round(centre, 6),
        "balance": choice.balance,
        "balance chosen on": by.name if settings.balance is None else "nothing: it was set",
        "Gini lower beyond noise": str(choice.lower).lower(),
        **popularity_figures(tops, mentions, by.name),
        **ranking_figures(tops, by),
    }
    rows = {
        "item_id": ctx.frame("catalog")["item_id"],
        "weight": made.weight,
        "bias": bias - choice.balance * favour,
    }
    return StepResult(pl.DataFrame(rows), figures)


def _fit_figures(made: Fit, train: Listwise, validation: Listwise) -> dict[str, float | int | str]:
    ended = made.ended if validation.samples else f"{made.ended}, without validation to stop early"
    figures: dict[str, float | int | str] = {
        "samples": train.samples,
        "validation samples": validation.samples,
        "iterations": made.iterations,
        "iteration kept": made.kept,
        "ended": ended,
    }
    points = {"before": start(len(made.weight)), "after": made.parameters}
    for name, data in (("train", train), ("validation", validation)):
        if data.samples:
            for when, at in points.items():
                figures[f"{name} loss {when}"] = round(listwise_loss(at, data)[0], 4)
    return figures


def _config(config: Config) -> dict[str, Any]:
    return {**config.adjust.model_dump(mode="json"), "list_length": config.list_length}


ADJUSTMENT = Step(stage="adjust", kind="adjustment", version=3, build=_build, config=_config)
