"""Lists to score, and the arrays of their hits that metrics read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from convrec.metrics import Floats, Ints
from convrec.metrics.relevance import TitleAndYear

EvaluationProtocol = Literal["standard", "reference", "per-label"]

CUTOFFS = (5, 10, 15, 20)
"""The k of every metric@k."""

WIDTH = max(CUTOFFS)
"""Positions that ranking metrics and rewards read."""


class ListToScore(NamedTuple):
    """A completion as generated, with the seen titles and the ground truth (not empty)."""

    completion: str
    seen: Sequence[TitleAndYear]
    ground_truth: Sequence[TitleAndYear]


@dataclass(frozen=True)
class ListBatch:
    """Lists matched with their ground truth by a protocol.

    A row is a list. Under `per-label` it is a (list, ground-truth item) pair.

    Attributes:
        relevance: (rows, WIDTH) 1 where a line hits a ground truth, else 0.
        reward_relevance: (rows, WIDTH) The same for rewards; differs only under `reference`.
        truths: (rows,) Size of each ground truth.
        lengths: (rows,) Where to cut the ideal list of NDCG; only under `reference`.
        quality: Name → (rows,) list-quality metrics; only under `standard`.
        items: (rows, N) Catalog row of each line, negative without one; only under `standard`.
        owner: (rows,) Index of the list that a pair belongs to; only under `per-label`.
    """

    relevance: Floats
    reward_relevance: Floats
    truths: Ints
    lengths: Ints | None = None
    quality: Mapping[str, Floats] = field(default_factory=dict)
    items: Ints | None = None
    owner: Ints | None = None
