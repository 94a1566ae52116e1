"""The `standard` protocol: positions as generated, and nothing forgiven.

Repeats, out-of-catalog, unreadable and already seen lines keep their place and score 0; each
ground truth is earned once; the ideal list has min(|ground truth|, k) hits. The first WIDTH lines
count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convrec.catalog.index import TitleIndex
from convrec.evaluate.batch import WIDTH, Batch, ListToJudge
from convrec.evaluate.rates import RATES, list_rates
from convrec.lists import TITLE_YEAR, LineFormat
from convrec.relevance import judge_lines, list_lines


def judge_standard(
    lists: Sequence[ListToJudge],
    index: TitleIndex,
    *,
    n: int = WIDTH,
    years: bool = True,
    form: LineFormat = TITLE_YEAR,
) -> Batch:
    """Judge lists of which `n` lines of a form were asked for; `years`: lines carry years."""
    relevance = np.zeros((len(lists), WIDTH))
    rates = np.zeros((len(lists), len(RATES)))
    for row, asked in enumerate(lists):
        lines = list_lines(asked.completion)
        judged = judge_lines(lines[: max(n, WIDTH)], index, asked.seen, asked.ground_truth, form)
        for rank, line in enumerate(judged[:WIDTH]):
            relevance[row, rank] = line.truth is not None
        rates[row] = list_rates(judged[:n], len(lines), n, years=years)
    return Batch(
        relevance=relevance,
        reward_relevance=relevance,
        truths=np.array([len(asked.ground_truth) for asked in lists], dtype=np.int64),
        rates={name: rates[:, column] for column, name in enumerate(RATES)},
    )
