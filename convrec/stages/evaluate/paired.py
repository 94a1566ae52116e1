"""Compare two systems on the same samples.

For a metric m, next to the difference itself: `wins m`, `ties m` and `losses m` are the shares of
samples on which the first system is better, equal and worse, and `detectable m` is the smallest
true difference that a test set of this size detects (see `Bootstrap.detectable_differences`).
"""

from __future__ import annotations

import numpy as np

from convrec.metrics.scored_lists import EvaluationProtocol
from convrec.stages.evaluate.evaluator import Evaluator, MetricRow, MetricValues, complete_rows

PAIRED_METRICS = ("ndcg@20", "ndcg@5", "recall@20", "recall@5")
DETECTABLE = "detectable"
OUTCOMES = ("wins", "ties", "losses")
TIE_TOLERANCE = 1e-12
"""Differences up to this are a tie: they come from the order of floating-point sums."""


def paired_rows(
    evaluator: Evaluator,
    values: MetricValues,
    others: MetricValues,
    systems: tuple[str, str],
    protocol: EvaluationProtocol,
) -> list[MetricRow]:
    """Compute all rows of `systems[0]` − `systems[1]`, over the samples with a list of both."""
    difference = {name: values[name] - others[name] for name in PAIRED_METRICS if name in others}
    rows = evaluator.rows(difference, *systems, protocol)
    if protocol == "standard" and rows:
        rows += evaluator.rows(_outcomes(difference), *systems, protocol)
        rows += _detectable_rows(evaluator, difference, systems)
    return rows


def _outcomes(difference: MetricValues) -> MetricValues:
    outcomes: MetricValues = {}
    for name, values in difference.items():
        is_missing = np.isnan(values)
        masks = (values > TIE_TOLERANCE, np.abs(values) <= TIE_TOLERANCE, values < -TIE_TOLERANCE)
        for outcome, mask in zip(OUTCOMES, masks, strict=True):
            outcomes[f"{outcome} {name}"] = np.where(is_missing, np.nan, mask)
    return outcomes


def _detectable_rows(
    evaluator: Evaluator, difference: MetricValues, systems: tuple[str, str]
) -> list[MetricRow]:
    table = np.column_stack(list(difference.values()))
    present = complete_rows(table)
    sizes = evaluator.bootstrap(present).detectable_differences(table[present])
    n = int(present.sum())
    return [
        MetricRow(*systems, "standard", f"{DETECTABLE} {name}", size, size, size, n)
        for name, size in zip(difference, sizes.tolist(), strict=True)
    ]
