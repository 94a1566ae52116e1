"""The `reference` protocol: what the published Rank-GRPO code measures.

Use it only to compare with published numbers. Differences from `standard`:

- Parsing is lenient: numbering, bullets, emphasis and quotes are stripped, parentheses are removed
  from the title, and text after "(year)" is ignored. Lines without a year are dropped.
- Recall and NDCG drop seen titles and items outside the catalog (exact title and year) first, so
  later items move up. The ideal list is cut at the length of the remaining list. Each ground truth
  hits the first item with its exact title and a year within 2.
- Rewards are indexed by parsed title: nothing else is dropped, but a line that cannot be parsed
  shifts every later rank. Titles are compared without case. Each ground truth is used once; of
  several with one title, the nearest year is used, the later one on a tie.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from functools import lru_cache

import numpy as np

from convrec.metrics.relevance import TitleAndYear
from convrec.metrics.scored_lists import WIDTH, ListBatch, ListToScore
from convrec.titles.index import YEAR_TOLERANCE

_LINE = re.compile(r"(?P<title>.+?)\s+\((?P<year>\d{4})\)")
_LEADING = re.compile(r"^(?:[*_\-#]+|\d+\s*[.)、\-—–]\s+)\s*")
_TRAILING = re.compile(r"\s*[*_\-#]+$")
_PARENTHESES = re.compile(r"\([^()]*\)")
_SPACE = re.compile(r"\s+")

ParsedTitle = tuple[str, int]
"""A title and its year."""

MAX_LINE_LENGTH = 2000
"""Characters of a line that are parsed. Stripping takes a pass for each layer of markup."""


def match_reference(lists: Sequence[ListToScore], catalog: Set[TitleAndYear]) -> ListBatch:
    """Match lists by the `reference` protocol; `catalog` has exact titles and years."""
    relevance = np.zeros((len(lists), WIDTH))
    reward_relevance = np.zeros((len(lists), WIDTH))
    lengths = np.zeros(len(lists), dtype=np.int64)
    for row, one in enumerate(lists):
        items = parse_list(one.completion)
        seen = {title for title, _ in one.seen}
        usable = [item in catalog and item[0] not in seen for item in items]
        remaining = [item for item, is_usable in zip(items, usable, strict=True) if is_usable]
        lengths[row] = len(remaining)
        hits = [rank for rank in _first_hits(remaining, one.ground_truth) if rank < WIDTH]
        relevance[row, hits] = 1.0
        rewarded = _rewarded_positions(items[:WIDTH], usable, one.ground_truth)
        reward_relevance[row, rewarded] = 1.0
    truths = np.array([len(one.ground_truth) for one in lists], dtype=np.int64)
    return ListBatch(relevance, reward_relevance, truths, lengths)


def parse_list(text: str) -> list[ParsedTitle]:
    """Return the title and year of every line in which the published code finds them, in order."""
    parsed = (_parse_line(line[:MAX_LINE_LENGTH]) for line in text.split("\n"))
    return [item for item in parsed if item is not None]


@lru_cache(maxsize=1 << 16)
def _parse_line(line: str) -> ParsedTitle | None:
    found = _LINE.match(_strip_markup(line))
    return (_strip_title(found["title"]), int(found["year"])) if found else None


def _strip_markup(text: str) -> str:
    """Strip spaces, list markers and emphasis, then one pair of quotes."""
    text = _SPACE.sub(" ", text).strip()
    while (stripped := _TRAILING.sub("", _LEADING.sub("", text)).strip()) != text:
        text = stripped
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def _strip_title(title: str) -> str:
    """Strip parentheses, markers and quotes, also nested ones."""
    while (stripped := _strip_markup(_PARENTHESES.sub("", title))) != title:
        title = stripped
    return title


def _first_hits(items: Sequence[ParsedTitle], ground_truth: Sequence[TitleAndYear]) -> list[int]:
    """Return the position of the first matching item of each ground truth that has one."""
    hits = []
    for truth, truth_year in ground_truth:
        if truth_year is None:
            continue
        for position, (title, year) in enumerate(items):
            if title == truth and abs(year - truth_year) <= YEAR_TOLERANCE:
                hits.append(position)
                break
    return hits


def _rewarded_positions(
    items: Sequence[ParsedTitle], usable: Sequence[bool], ground_truth: Sequence[TitleAndYear]
) -> list[int]:
    """Return the positions that earn a reward: each takes the nearest ground truth still open."""
    open_years: dict[str, list[int]] = {}
    for title, year in ground_truth:
        if year is not None:
            open_years.setdefault(_folded_title(title), []).append(year)
    positions = []
    for position, (title, year) in enumerate(items):
        years = open_years.get(_folded_title(title)) if usable[position] else None
        if not years:
            continue
        nearest = min(years, key=lambda y: (abs(y - year), y < year))
        if abs(nearest - year) <= YEAR_TOLERANCE:
            years.remove(nearest)
            positions.append(position)
    return positions


@lru_cache(maxsize=1 << 16)
def _folded_title(title: str) -> str:
    return _SPACE.sub(" ", title).strip().casefold()
