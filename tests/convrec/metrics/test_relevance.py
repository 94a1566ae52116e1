"""Which lines earn a ground truth, worked by hand."""

from __future__ import annotations

from convrec.metrics.relevance import Titled, list_lines, match_lines
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import TITLE_YEAR, LineFormat, line_format

INDEX = TitleIndex(
    [
        ("a", "Alien", 1979),
        ("h", "Heat", 1995),
        ("d31", "Dracula", 1931),
        ("d92", "Dracula", 1992),
        ("u", "Untitled Year", None),
    ]
)


def hits(
    lines: list[str], seen: list[Titled], truth: list[Titled], form: LineFormat = TITLE_YEAR
) -> list[int]:
    judged = match_lines(lines, INDEX, seen, truth, form)
    return [int(line.truth is not None) for line in judged]


def test_lines_end_at_newlines_and_blank_ones_count() -> None:
    assert list_lines("") == []
    assert list_lines("a\n") == ["a"]
    assert list_lines("a\n\nb") == ["a", "", "b"]
    assert list_lines("a\u2028b\x0bc") == ["a\u2028b\x0bc"]


def test_a_hit_needs_catalog_unseen_no_repeat_and_the_ground_truth() -> None:
    lines = [
        "Heat (1995)",
        "Not A Film (2001)",
        "",
        "Alien (1979)",
        "Alien (1979)",
        "Dracula (1931)",
    ]
    truth = [("Alien", 1979), ("Not A Film", 2001), ("Dracula", 1931), ("Heat", 1995)]
    seen = [("Heat", None)]
    assert hits(lines, seen, truth) == [0, 0, 0, 1, 0, 1]
    flags = match_lines(lines, INDEX, seen, truth)
    assert [x.seen for x in flags] == [True, False, False, False, False, False]
    assert [x.repeat for x in flags] == [False, False, False, False, True, False]
    assert [x.item_id for x in flags] == ["h", None, None, "a", "a", "d31"]


def test_years_may_be_off_by_two_and_no_more() -> None:
    truth = [("Alien", 1979)]
    for year, hit in ((1977, 1), (1981, 1), (1976, 0), (1982, 0)):
        assert hits([f"Alien ({year})"], [], truth) == [hit]


def test_a_missing_year_matches_on_the_title() -> None:
    assert hits(["alien"], [], [("Alien", 1979)]) == [1]
    assert hits(["Alien (1979)"], [], [("Alien", None)]) == [1]
    assert hits(["Untitled Year (1950)"], [], [("Untitled Year", 1951)]) == [1]


def test_each_ground_truth_is_earned_once_by_the_nearest_year() -> None:
    truth = [("Dracula", 1931), ("Dracula", 1992)]
    assert hits(["Dracula (1992)", "Dracula (1931)"], [], truth) == [1, 1]
    judged = match_lines(["Dracula (1992)", "Dracula (1931)"], INDEX, [], truth)
    assert [x.truth for x in judged] == [1, 0]
    one = [("Dracula", 1931)]
    assert hits(["Dracula (1932)", "Dracula (1933)"], [], one) == [1, 0]


def test_a_remake_is_not_seen_where_the_original_is() -> None:
    lines = ["Dracula (1992)", "Dracula (1931)"]
    flags = match_lines(lines, INDEX, [("Dracula", 1931)], [])
    assert [x.seen for x in flags] == [False, True]


def test_outside_the_catalog_the_same_words_and_year_repeat() -> None:
    flags = match_lines(["Ghost A (2001)", "ghost a (2001)", "Ghost A (2002)"], INDEX, [], [])
    assert [x.repeat for x in flags] == [False, True, False]


def test_a_list_marker_is_not_forgiven() -> None:
    assert hits(["1. Alien (1979)"], [], [("Alien", 1979)]) == [0]


def test_lines_are_read_in_the_form_that_is_given() -> None:
    form = line_format("«{title}», {year}", "«{title}»")
    lines = ["«Heat», 1995", "Heat (1995)", "«Alien»"]
    judged = match_lines(lines, INDEX, [], [("Heat", 1995)], form)
    assert [(j.item_id, j.truth) for j in judged] == [("h", 0), (None, None), ("a", None)]
    assert judged[1].item is None
    assert hits(["Heat (1995)"], [], [("Heat", None)], line_format("")) == [0]
