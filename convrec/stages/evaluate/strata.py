"""Strata of the test set by how often training answers name the wanted item.

A model that has learned only what is popular gains in the upper strata and nowhere else.

never            no training answer names the item, or it is not in the catalog
1 to a times, a + 1 to b times, over b times
                 the other wanted items, in thirds of the test set

A sample that wants items of several strata counts in each of them, with the wanted items of that
stratum as its ground truth: lines that hit the others keep their rank and score 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convrec.metrics.relevance import TitleAndYear
from convrec.stages.evaluate.baselines import TrainingData
from convrec.stages.evaluate.evaluator import Evaluator, MetricValues
from convrec.stages.evaluate.samples import Sample, SampleList

PROPERTY = "named in training"
"""The property by which slices of strata are named."""

Strata = dict[str, list[list[TitleAndYear]]]
"""Slice → (samples,) the wanted items of each sample that are in the stratum."""


def popularity_strata(samples: Sequence[Sample], training: TrainingData | None) -> Strata:
    """Return the strata, rarest items first; none if all wanted items are in the same one."""
    if training is None:
        return {}
    counts = [[_times_named(x, training) for x in sample.ground_truth] for sample in samples]
    named = [count for of_sample in counts for count in of_sample if count]
    if not named:
        return {}
    low, high = (int(x) for x in np.quantile(named, [1 / 3, 2 / 3]))
    strata: Strata = {}
    for label, first, last in (
        ("never", 0, 0),
        (_times(1, low), 1, low),
        (_times(low + 1, high), low + 1, high),
        (f"over {high} times", high + 1, max(named)),
    ):
        truths = [
            [
                x
                for x, count in zip(sample.ground_truth, of_sample, strict=True)
                if first <= count <= last
            ]
            for sample, of_sample in zip(samples, counts, strict=True)
        ]
        if any(truths):
            strata[f"{PROPERTY}: {label}"] = truths
    return strata if len(strata) > 1 else {}


def _times(first: int, last: int) -> str:
    count = str(last) if first == last else f"{first} to {last}"
    return "once" if count == "1" else f"{count} times"


def _times_named(title: TitleAndYear, training: TrainingData) -> int:
    return int(max((training.mentions[row] for row in training.matching_rows([title])), default=0))


def stratum_values(
    evaluator: Evaluator, lists: Sequence[SampleList], truths: list[list[TitleAndYear]]
) -> MetricValues:
    """Return metric → (samples,) values in one stratum; NaN for samples outside it."""
    inside = [one for one in lists if truths[one.sample]]
    return evaluator.with_truths(truths).values(inside, "standard") if inside else {}
