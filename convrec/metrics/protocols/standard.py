"""The `standard` protocol: positions as generated, and nothing forgiven.

Repeats, out-of-catalog, unreadable and already seen lines keep their place and score 0; each
ground truth is earned once; the ideal list has min(|ground truth|, k) hits. The first WIDTH lines
count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convrec.metrics.list_quality import rates
from convrec.metrics.matcher import Matcher
from convrec.metrics.registry import WIDTH, ListBatch, ListToScore
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import TITLE_YEAR, LineFormat


def match_standard(
    lists: Sequence[ListToScore],
    index: TitleIndex | Matcher,
    *,
    n: int = WIDTH,
    years: bool = True,
    form: LineFormat = TITLE_YEAR,
) -> ListBatch:
    """Judge lists of which `n` lines of a form were asked for; `years`: lines carry years.

    A `Judge` in place of the index keeps what it has read from one call to the next.
    """
    judge = index if isinstance(index, Matcher) else Matcher(index, form)
    verdicts = judge.judge(lists, max(n, WIDTH))
    relevance = verdicts.hit[:, :WIDTH].astype(np.float64)
    return ListBatch(
        relevance=relevance,
        reward_relevance=relevance,
        truths=np.array([len(asked.ground_truth) for asked in lists], dtype=np.int64),
        rates=rates(verdicts, n, years=years),
        items=verdicts.item[:, :n],
    )
