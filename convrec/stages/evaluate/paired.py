"""Two systems on the same samples: the difference, who wins how often, and what could be seen.

For a metric m there are, beside the difference itself, `wins m`, `ties m` and `losses m`, the
shares of samples on which the first system is better, equal and worse, and `detectable m`, the
smallest true difference that a test of this size would see (see `Bootstrap.detectable`).
"""

from __future__ import annotations

import numpy as np

from convrec.metrics.registry import Protocol
from convrec.stages.evaluate.evaluator import Evaluator, MetricRow, Values, complete

COMPARED = ("ndcg@20", "ndcg@5", "recall@20", "recall@5")
DETECTABLE = "detectable"
OUTCOMES = ("wins", "ties", "losses")
EQUAL = 1e-12
"""Differences up to this are a tie: sums in another order."""


def paired_rows(
    measures: Evaluator, values: Values, others: Values, names: tuple[str, str], protocol: Protocol
) -> list[MetricRow]:
    """All rows of system `names[0]` − `names[1]`, on the samples that both have."""
    difference = {name: values[name] - others[name] for name in COMPARED if name in others}
    rows = measures.rows(difference, *names, protocol)
    if protocol == "standard" and rows:
        rows += measures.rows(_outcomes(difference), *names, protocol)
        rows += _detectable(measures, difference, names)
    return rows


def _outcomes(difference: Values) -> Values:
    found: Values = {}
    for name, values in difference.items():
        lost = np.isnan(values)
        for outcome, holds in zip(
            OUTCOMES, (values > EQUAL, np.abs(values) <= EQUAL, values < -EQUAL), strict=True
        ):
            found[f"{outcome} {name}"] = np.where(lost, np.nan, holds)
    return found


def _detectable(measures: Evaluator, difference: Values, names: tuple[str, str]) -> list[MetricRow]:
    table = np.column_stack(list(difference.values()))
    present = complete(table)
    sizes = measures.bootstrap(present).detectable(table[present])
    return [
        MetricRow(*names, "standard", f"{DETECTABLE} {name}", size, size, size, int(present.sum()))
        for name, size in zip(difference, sizes.tolist(), strict=True)
    ]
