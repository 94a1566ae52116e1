"""The registry: a metric from outside the package needs one function and one entry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convrec.metrics.protocols.reference import match_reference
from convrec.metrics.protocols.standard import match_standard
from convrec.metrics.registry import RANKING_METRICS, RankingMetric, all_metrics, ranking_metrics
from convrec.metrics.scored_lists import CUTOFFS, ListToScore
from convrec.titles.index import TitleIndex

LISTS = [ListToScore("Alien (1979)\nHeat (1995)\nUp (2009)", [], [("Alien", 1979), ("Up", 2009)])]
INDEX = TitleIndex([("a", "Alien", 1979), ("h", "Heat", 1995), ("u", "Up", 2009)])
CATALOG = {("Alien", 1979), ("Heat", 1995), ("Up", 2009)}


def precision(relevance: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Compute Precision@k = Σ_{j≤k} rel_j / k."""
    return np.asarray(relevance[:, :k].sum(axis=1) / k)


def test_added_metric_is_computed_at_every_cutoff(monkeypatch: Any) -> None:
    entry = RankingMetric(lambda batch, k: precision(batch.relevance, k), label="Precision")
    monkeypatch.setitem(RANKING_METRICS, "precision", entry)
    found = all_metrics(match_standard(LISTS, INDEX))
    assert {k: found[f"precision@{k}"].tolist() for k in CUTOFFS} == {k: [2 / k] for k in CUTOFFS}


def test_reference_has_only_the_published_metrics() -> None:
    assert set(ranking_metrics(match_reference(LISTS, CATALOG))) == {
        f"{name}@{k}" for name in ("recall", "ndcg") for k in CUTOFFS
    }


def test_metrics_are_ordered_by_cutoff() -> None:
    """Rows of stored artifacts have this order."""
    names = list(ranking_metrics(match_standard(LISTS, INDEX)))
    assert names == [f"{name}@{k}" for k in CUTOFFS for name in ("recall", "ndcg", "mrr", "hit")]
