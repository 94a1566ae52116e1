"""Strata of the test set by how often training answers name the wanted item."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix

from convrec.config import Config
from convrec.stages.evaluate.baselines import TrainingData
from convrec.stages.evaluate.evaluator import Evaluator
from convrec.stages.evaluate.samples import Sample, SampleList
from convrec.stages.evaluate.strata import popularity_strata, stratum_values

ITEMS = [(f"Film {k}", 1990) for k in range(8)]
MENTIONS = [0, 1, 2, 4, 6, 8, 30, 40]


def _training(mentions: list[int] = MENTIONS) -> TrainingData:
    counts = np.array(mentions, dtype=np.float64)
    return TrainingData(ITEMS, counts, ["post"], csr_matrix(counts[None]))


def _sample(number: int, *wanted: int) -> Sample:
    truths = [ITEMS[k] if k >= 0 else ("Elsewhere", 2000) for k in wanted]
    return Sample(f"s{number}", f"c{number}", [], truths)


SAMPLES = [_sample(k, k) for k in range(8)] + [_sample(8, 0, 7), _sample(9, -1)]


def test_each_wanted_item_is_in_one_stratum() -> None:
    strata = popularity_strata(SAMPLES, _training())
    assert list(strata) == [
        f"named in training: {part}"
        for part in ("never", "1 to 4 times", "5 to 22 times", "over 22 times")
    ]
    for number, sample in enumerate(SAMPLES):
        parts = [x for truths in strata.values() for x in truths[number]]
        assert sorted(parts) == sorted(sample.ground_truth)
    never, often = strata["named in training: never"], strata["named in training: over 22 times"]
    assert (never[8], often[8], never[9]) == ([ITEMS[0]], [ITEMS[7]], [("Elsewhere", 2000)])


def test_strata_of_one_number_have_short_names() -> None:
    strata = popularity_strata(SAMPLES[:8], _training([0, 1, 1, 1, 2, 2, 5, 9]))
    names = [name.removeprefix("named in training: ") for name in strata]
    assert names == ["never", "once", "2 times", "over 2 times"]


def test_one_stratum_is_no_slice() -> None:
    assert popularity_strata(SAMPLES[3:4], _training()) == {}
    assert popularity_strata(SAMPLES, _training([0] * 8)) == {}
    assert popularity_strata(SAMPLES, None) == {}


@pytest.fixture
def evaluator() -> Evaluator:
    catalog = pl.DataFrame(
        [(f"i{k}", title, year) for k, (title, year) in enumerate(ITEMS)],
        schema=["item_id", "title", "year"],
        orient="row",
    )
    return Evaluator(SAMPLES, catalog, Config())


def test_values_count_the_items_of_the_stratum(evaluator: Evaluator) -> None:
    strata = popularity_strata(SAMPLES, _training())
    lists = [SampleList(8, "Film 7 (1990)\nFilm 0 (1990)"), SampleList(0, "Film 1 (1990)")]
    whole = evaluator.values(lists, "standard")
    assert whole["ndcg@5"][8] == 1
    never = stratum_values(evaluator, lists, strata["named in training: never"])
    often = stratum_values(evaluator, lists, strata["named in training: over 22 times"])
    assert never["ndcg@5"][8] == pytest.approx(1 / np.log2(3))  # rank 2; Film 7 keeps rank 1
    assert (never["recall@5"][8], never["recall@5"][0], often["ndcg@5"][8]) == (1, 0, 1)
    assert np.isnan(often["ndcg@5"][0])
    assert stratum_values(evaluator, lists, strata["named in training: 1 to 4 times"]) == {}
