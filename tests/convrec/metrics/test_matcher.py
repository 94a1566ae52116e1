"""Matching many lists at once equals matching each list on its own."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from convrec.metrics.list_quality import QUALITY_METRICS, list_quality, quality_of_list
from convrec.metrics.matcher import MISSING, Matcher
from convrec.metrics.relevance import list_lines, match_lines
from convrec.metrics.scored_lists import ListToScore
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import DEFAULT_FORMAT, line_format

ITEMS = [
    ("a", "Alien", 1979),
    ("h", "Heat", 1995),
    ("h72", "Heat", 1972),
    ("d31", "Dracula", 1931),
    ("d92", "Dracula", 1992),
    ("d93", "Dracula", 1993),
    ("u", "Untitled", None),
]
INDEX = TitleIndex(ITEMS)
TITLES = ["Alien", "alien ", "Heat", "HEAT", "Dracula", "Untitled", "Nobody", "nobody"]
YEARS = [None, 1931, 1933, 1972, 1979, 1981, 1991, 1992, 1993, 1994, 1995, 2001]
title_years = st.tuples(st.sampled_from(TITLES), st.sampled_from(YEARS))
line = st.one_of(
    title_years.map(lambda item: DEFAULT_FORMAT.format(*item)),
    st.sampled_from(["", "  ", "1. Heat (1995)", "«Alien»", "Heat (1995) trailing"]),
)
lists_to_score = st.builds(
    ListToScore,
    st.lists(line, max_size=12).map("\n".join),
    st.lists(title_years, max_size=3),
    st.lists(title_years, min_size=1, max_size=4),
)
WIDTH = 8
ROWS = {item_id: row for row, (item_id, _, _) in enumerate(ITEMS)}


@given(
    st.lists(lists_to_score, min_size=1, max_size=6),
    st.sampled_from([DEFAULT_FORMAT, line_format("")]),
)
@settings(max_examples=200, deadline=None)
def test_equals_match_lines(lists: list[ListToScore], form: object) -> None:
    matcher = Matcher(INDEX, form, list(ROWS))
    matcher.match(lists[:1], WIDTH)  # the cache must not change the result
    found = matcher.match(lists, WIDTH)
    quality = list_quality(found, 5, years=form.has_years)
    for at, one in enumerate(lists):
        lines = list_lines(one.completion)
        alone = match_lines(lines[:WIDTH], INDEX, one.seen, one.ground_truth, form)
        end = len(alone)
        assert found.written[at] == len(lines)
        assert found.present[at].sum() == end
        assert found.hit[at, :end].tolist() == [x.truth is not None for x in alone]
        assert found.repeat[at, :end].tolist() == [x.repeat for x in alone]
        assert found.seen[at, :end].tolist() == [x.seen for x in alone]
        assert found.item[at, :end].tolist() == [
            MISSING if x.item_id is None else ROWS[x.item_id] for x in alone
        ]
        assert (found.item[at, end:] == MISSING).all()
        expected = quality_of_list(alone[:5], len(lines), 5, years=form.has_years)
        assert [quality[name][at] for name in QUALITY_METRICS] == list(expected)


def test_empty_list() -> None:
    found = Matcher(INDEX).match([ListToScore("", [], [("Heat", 1995)])], WIDTH)
    assert not found.present.any()
    assert found.written.tolist() == [0]


def test_cache_is_bounded(monkeypatch: object) -> None:
    monkeypatch.setattr("convrec.metrics.matcher._MAX_CACHED", 2)
    matcher = Matcher(INDEX)
    lists = [ListToScore(f"Heat (1995)\nX{k} (2000)", [], [("Heat", 1994)]) for k in range(5)]
    hits = [matcher.match([one], WIDTH).hit[0, :2].tolist() for one in lists]
    assert hits == [[True, False]] * 5
    assert len(matcher._codes) <= 4
    assert len(matcher._facts) == len(matcher._codes)
