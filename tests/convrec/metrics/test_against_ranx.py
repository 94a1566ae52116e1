"""Recall, NDCG, MRR and hit rate equal those of ranx, list by list."""

from __future__ import annotations

import os

import numpy as np
import pytest

from convrec.metrics.protocols.standard import match_standard
from convrec.metrics.registry import ranking_metrics
from convrec.metrics.scored_lists import CUTOFFS, ListToScore
from convrec.titles.index import TitleIndex

LISTS = 300
ITEMS = [(f"i{k}", f"Film {k}", 1950 + k % 70) for k in range(120)]


@pytest.fixture(scope="module")
def ranx() -> object:
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # compiling takes a minute
    return pytest.importorskip("ranx")


def test_same_as_ranx(ranx: object) -> None:
    rng = np.random.default_rng(5)
    lists, relevant, ranked = [], {}, {}
    for at in range(LISTS):
        items = rng.permutation(len(ITEMS))[: rng.integers(1, 21)]
        others = rng.permutation(len(ITEMS))[: rng.integers(1, 25)]
        truth = sorted({*others.tolist(), *items[: rng.integers(0, 4)].tolist()})
        lines = [f"{ITEMS[k][1]} ({ITEMS[k][2]})" for k in items]
        lists.append(ListToScore("\n".join(lines), [], [ITEMS[k][1:] for k in truth]))
        relevant[f"q{at:03}"] = {ITEMS[k][0]: 1 for k in truth}
        ranked[f"q{at:03}"] = {ITEMS[k][0]: float(-rank) for rank, k in enumerate(items)}
    ours = ranking_metrics(match_standard(lists, TitleIndex(ITEMS)))
    theirs = {"recall": "recall", "ndcg": "ndcg", "mrr": "mrr", "hit": "hit_rate"}
    ranx_names = {f"{name}@{k}": f"{other}@{k}" for name, other in theirs.items() for k in CUTOFFS}
    found = ranx.evaluate(
        ranx.Qrels(relevant),
        ranx.Run(ranked),
        list(ranx_names.values()),
        return_mean=False,
    )
    for name, other in ranx_names.items():
        np.testing.assert_allclose(ours[name], found[other], atol=1e-12, err_msg=name)
