"""The `standard` protocol: positions as generated.

Repeats, seen, unknown and malformed lines keep their position and have relevance 0. Each ground
truth is hit once. The ideal list of NDCG@k has min(|ground truth|, k) hits. The first WIDTH lines
count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convrec.metrics.list_quality import list_quality
from convrec.metrics.matcher import Matcher
from convrec.metrics.scored_lists import WIDTH, ListBatch, ListToScore
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import DEFAULT_FORMAT, LineFormat


def match_standard(
    lists: Sequence[ListToScore],
    catalog: TitleIndex | Matcher,
    *,
    n: int = WIDTH,
    years: bool = True,
    line_format: LineFormat = DEFAULT_FORMAT,
) -> ListBatch:
    """Match lists by the `standard` protocol; `n` lines were asked for.

    A `Matcher` has its own line format and caches parsed lines across calls. With `years`, a
    well-formed line needs a year.
    """
    matcher = catalog if isinstance(catalog, Matcher) else Matcher(catalog, line_format)
    matches = matcher.match(lists, max(n, WIDTH))
    relevance = matches.hit[:, :WIDTH].astype(np.float64)
    return ListBatch(
        relevance=relevance,
        reward_relevance=relevance,
        truths=np.array([len(one.ground_truth) for one in lists], dtype=np.int64),
        quality=list_quality(matches, n, years=years),
        items=matches.item[:, :n],
    )
