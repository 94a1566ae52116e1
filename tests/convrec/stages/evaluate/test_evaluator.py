"""Ground truths outside the catalog stay in the denominators, also where no line can hit."""

from __future__ import annotations

import polars as pl
import pytest

from convrec.config import Config
from convrec.metrics.scored_lists import EvaluationProtocol
from convrec.stages.evaluate.evaluator import Evaluator
from convrec.stages.evaluate.samples import Sample, SampleList

CATALOG = pl.DataFrame({"item_id": ["h", "u"], "title": ["Heat", "Up"], "year": [1995, 2009]})
OUTSIDE = ("No Such Film", 2000)
SAMPLES = [
    Sample("a", "a", [], [("Heat", 1995)]),
    Sample("b", "b", [], [("Up", 2009), OUTSIDE]),
    Sample("c", "c", [], [OUTSIDE]),
]


@pytest.mark.parametrize(
    ("protocol", "values", "mean"),
    [
        ("standard", [1, 0.5, 0], 0.5),
        ("reference", [1, 0.5, 0], 0.5),
        ("per-label", [1, 1, 0, 0], 0.5),  # one value for each ground truth
    ],
)
def test_truths_outside_the_catalog_are_misses(
    protocol: EvaluationProtocol, values: list[float], mean: float
) -> None:
    config = Config.model_validate({"evaluate": {"bootstrap": 100}, "reflect": {"top": 20}})
    evaluator = Evaluator(SAMPLES, CATALOG, config)
    lists = [SampleList(index, "Heat (1995)\nUp (2009)") for index in range(3)]
    found = evaluator.values(lists, protocol)
    assert found["recall@5"].tolist() == values
    rows = evaluator.rows(found, "sft", None, protocol)
    recall = {row.metric: (row.value, row.n) for row in rows}["recall@5"]
    assert recall == (pytest.approx(mean), len(values))
