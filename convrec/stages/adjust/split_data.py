"""One split: its candidates and its ground truth."""

from __future__ import annotations

from typing import NamedTuple

from convrec.stages.adjust.item_links import GroundTruth, read_ground_truth
from convrec.stages.adjust.ordered_candidates import OrderedCandidates
from convrec.stages.base import StepContext


class SplitData(NamedTuple):
    """Candidates and ground truth of one split, with the same context numbers."""

    candidates: OrderedCandidates
    ground_truth: GroundTruth


def read_split(ctx: StepContext, split: str, candidates: OrderedCandidates) -> SplitData:
    """Select the candidates of a split and read its ground truth."""
    chosen = candidates.select_split(split)
    return SplitData(chosen, read_ground_truth(ctx, split, chosen.contexts))
