"""Many lists at once are judged as each list alone is."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from convrec.metrics.list_quality import RATES, list_rates, rates
from convrec.metrics.matcher import NONE, Matcher
from convrec.metrics.registry import ListToScore
from convrec.metrics.relevance import list_lines, match_lines
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import TITLE_YEAR, line_format

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
titled = st.tuples(st.sampled_from(TITLES), st.sampled_from(YEARS))
line = st.one_of(
    titled.map(lambda item: TITLE_YEAR.format(*item)),
    st.sampled_from(["", "  ", "1. Heat (1995)", "«Alien»", "Heat (1995) trailing"]),
)
asked = st.builds(
    ListToScore,
    st.lists(line, max_size=12).map("\n".join),
    st.lists(titled, max_size=3),
    st.lists(titled, min_size=1, max_size=4),
)
WIDTH = 8
ROWS = {item_id: row for row, (item_id, _, _) in enumerate(ITEMS)}


@given(st.lists(asked, min_size=1, max_size=6), st.sampled_from([TITLE_YEAR, line_format("")]))
@settings(max_examples=200, deadline=None)
def test_as_each_list_alone(lists: list[ListToScore], form: object) -> None:
    judge = Matcher(INDEX, form, list(ROWS))
    judge.judge(lists[:1], WIDTH)  # what was read before changes nothing
    found = judge.judge(lists, WIDTH)
    shares = rates(found, 5, years=form.years)
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
            NONE if x.item_id is None else ROWS[x.item_id] for x in alone
        ]
        assert (found.item[at, end:] == NONE).all()
        by_one = list_rates(alone[:5], len(lines), 5, years=form.years)
        assert [shares[name][at] for name in RATES] == list(by_one)


def test_no_line_at_all() -> None:
    found = Matcher(INDEX).judge([ListToScore("", [], [("Heat", 1995)])], WIDTH)
    assert not found.present.any()
    assert found.written.tolist() == [0]


def test_what_is_remembered_is_bounded(monkeypatch: object) -> None:
    monkeypatch.setattr("convrec.metrics.matcher._MOST", 2)
    judge = Matcher(INDEX)
    lists = [ListToScore(f"Heat (1995)\nX{k} (2000)", [], [("Heat", 1994)]) for k in range(5)]
    hits = [judge.judge([one], WIDTH).hit[0, :2].tolist() for one in lists]
    assert hits == [[True, False]] * 5
    assert len(judge._codes) <= 4
    assert np.array(judge._facts).shape[1] == 5
