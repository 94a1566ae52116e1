"""A split as adjust reads it: the candidates, and the samples whose ground truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from convrec.stages.adjust.item_links import read_truth

if TYPE_CHECKING:
    import polars as pl

    from convrec.stages.adjust.ordered_candidates import OrderedCandidates
    from convrec.stages.base import StepContext


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

    candidates: OrderedCandidates


def read_split(ctx: StepContext, name: str, candidates: OrderedCandidates) -> Split:
    """The samples of the split `name`, and those of `candidates` that are its own."""
    own = candidates.of_split(name)
    found = read_answers(ctx, name, own.contexts)
    return Split(name, found.samples, found.truth, own)


def read_answers(ctx: StepContext, name: str, contexts: pl.DataFrame) -> Answers:
    """The samples of the split `name` over `contexts` (context_id, context), which hold its own."""
    return Answers(name, *read_truth(ctx, name, contexts))
