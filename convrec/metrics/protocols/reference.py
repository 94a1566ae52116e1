"""The `reference` protocol: what the published Rank-GRPO code measures, for published numbers only.

How it departs from `standard`:

- A line is read forgivingly: numbering, bullets, emphasis and quotes come off, anything in
  parentheses leaves the title, text after "(year)" is ignored. Lines without a year vanish.
- Recall and NDCG first drop seen titles and items outside the catalog (exact title and year), so
  later items move up; the ideal list is cut at the length of what remains. Each ground truth hits
  its first equal title with a year within 2.
- Rewards are indexed by parsed title: nothing else is dropped, but an unreadable line shifts every
  later rank. Titles match without regard to case; of several ground truths with one title the
  nearest year is taken, the later one on a tie, each once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from functools import lru_cache

import numpy as np

from convrec.metrics.registry import WIDTH, ListBatch, ListToScore
from convrec.metrics.relevance import Titled
from convrec.titles.index import YEAR_TOLERANCE

_LINE = re.compile(r"(?P<title>.+?)\s+\((?P<year>\d{4})\)")
_LEADING = re.compile(r"^(?:[*_\-#]+|\d+\s*[.)、\-—–]\s+)\s*")
_TRAILING = re.compile(r"\s*[*_\-#]+$")
_PARENTHESES = re.compile(r"\([^()]*\)")
_SPACE = re.compile(r"\s+")

Named = tuple[str, int]

LONGEST = 2000
"""Characters of a line that are looked at: markers come off layer by layer, each a pass."""


def match_reference(lists: Sequence[ListToScore], catalog: Set[Titled]) -> ListBatch:
    """Judge lists against exact (title, year) pairs of a catalog."""
    relevance = np.zeros((len(lists), WIDTH))
    rewards = np.zeros((len(lists), WIDTH))
    lengths = np.zeros(len(lists), dtype=np.int64)
    for row, asked in enumerate(lists):
        items = read_list(asked.completion)
        seen = {title for title, _ in asked.seen}
        usable = [item in catalog and item[0] not in seen for item in items]
        kept = [item for item, usable_ in zip(items, usable, strict=True) if usable_]
        lengths[row] = len(kept)
        hits = [rank for rank in _first_hits(kept, asked.ground_truth) if rank < WIDTH]
        relevance[row, hits] = 1.0
        earned = _earned(items[:WIDTH], usable, asked.ground_truth)
        rewards[row, earned] = 1.0
    truths = np.array([len(asked.ground_truth) for asked in lists], dtype=np.int64)
    return ListBatch(relevance, rewards, truths, lengths)


def read_list(text: str) -> list[Named]:
    """The (title, year) of every line in which the published code finds one, in order."""
    return [item for line in text.split("\n") if (item := _read_line(line[:LONGEST])) is not None]


@lru_cache(maxsize=1 << 16)
def _read_line(line: str) -> Named | None:
    found = _LINE.match(_bare(line))
    return (_bare_title(found["title"]), int(found["year"])) if found else None


def _bare(text: str) -> str:
    """`text` without surrounding spaces, list markers and emphasis, then without one quote pair."""
    text = _SPACE.sub(" ", text).strip()
    while (bare := _TRAILING.sub("", _LEADING.sub("", text)).strip()) != text:
        text = bare
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def _bare_title(title: str) -> str:
    """A title without parentheses, markers and quotes, however deep they are nested."""
    while (bare := _bare(_PARENTHESES.sub("", title))) != title:
        title = bare
    return title


def _first_hits(items: Sequence[Named], ground_truth: Sequence[Titled]) -> list[int]:
    """For each ground truth, the position of the first item that is it."""
    hits = []
    for truth, truth_year in ground_truth:
        if truth_year is None:
            continue
        for position, (title, year) in enumerate(items):
            if title == truth and abs(year - truth_year) <= YEAR_TOLERANCE:
                hits.append(position)
                break
    return hits


def _earned(
    items: Sequence[Named], usable: Sequence[bool], ground_truth: Sequence[Titled]
) -> list[int]:
    """The positions that earn a reward: each takes the nearest ground truth still open."""
    open_years: dict[str, list[int]] = {}
    for title, year in ground_truth:
        if year is not None:
            open_years.setdefault(_folded(title), []).append(year)
    earned = []
    for position, (title, year) in enumerate(items):
        years = open_years.get(_folded(title)) if usable[position] else None
        if not years:
            continue
        nearest = min(years, key=lambda y: (abs(y - year), y < year))
        if abs(nearest - year) <= YEAR_TOLERANCE:
            years.remove(nearest)
            earned.append(position)
    return earned


@lru_cache(maxsize=1 << 16)
def _folded(title: str) -> str:
    return _SPACE.sub(" ", title).strip().casefold()
