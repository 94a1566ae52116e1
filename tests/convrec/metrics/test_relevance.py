"""Which lines hit a ground truth: worked examples."""

from __future__ import annotations

from convrec.metrics.relevance import TitleAndYear, list_lines, match_lines
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import DEFAULT_FORMAT, LineFormat, line_format

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
    lines: list[str],
    seen: list[TitleAndYear],
    truth: list[TitleAndYear],
    form: LineFormat = DEFAULT_FORMAT,
) -> list[int]:
    matched = match_lines(lines, INDEX, seen, truth, form)
    return [int(line.truth is not None) for line in matched]


def test_list_lines_keeps_blank_lines() -> None:
    assert list_lines("") == []
    assert list_lines("a\n") == ["a"]
    assert list_lines("a\n\nb") == ["a", "", "b"]
    assert list_lines("a\u2028b\x0bc") == ["a\u2028b\x0bc"]


def test_what_a_hit_needs() -> None:
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
    matched = match_lines(lines, INDEX, seen, truth)
    assert [x.seen for x in matched] == [True, False, False, False, False, False]
    assert [x.repeat for x in matched] == [False, False, False, False, True, False]
    assert [x.item_id for x in matched] == ["h", None, None, "a", "a", "d31"]


def test_year_tolerance() -> None:
    truth = [("Alien", 1979)]
    for year, hit in ((1977, 1), (1981, 1), (1976, 0), (1982, 0)):
        assert hits([f"Alien ({year})"], [], truth) == [hit]


def test_missing_year_matches_on_the_title() -> None:
    assert hits(["alien"], [], [("Alien", 1979)]) == [1]
    assert hits(["Alien (1979)"], [], [("Alien", None)]) == [1]
    assert hits(["Untitled Year (1950)"], [], [("Untitled Year", 1951)]) == [1]


def test_ground_truth_is_hit_once_by_nearest_year() -> None:
    truth = [("Dracula", 1931), ("Dracula", 1992)]
    assert hits(["Dracula (1992)", "Dracula (1931)"], [], truth) == [1, 1]
    matched = match_lines(["Dracula (1992)", "Dracula (1931)"], INDEX, [], truth)
    assert [x.truth for x in matched] == [1, 0]
    one = [("Dracula", 1931)]
    assert hits(["Dracula (1932)", "Dracula (1933)"], [], one) == [1, 0]


def test_remake_of_a_seen_film_is_unseen() -> None:
    lines = ["Dracula (1992)", "Dracula (1931)"]
    matched = match_lines(lines, INDEX, [("Dracula", 1931)], [])
    assert [x.seen for x in matched] == [False, True]


def test_repeat_outside_the_catalog() -> None:
    matched = match_lines(["Ghost A (2001)", "ghost a (2001)", "Ghost A (2002)"], INDEX, [], [])
    assert [x.repeat for x in matched] == [False, True, False]


def test_list_marker_is_not_stripped() -> None:
    assert hits(["1. Alien (1979)"], [], [("Alien", 1979)]) == [0]


def test_lines_are_parsed_by_their_format() -> None:
    form = line_format("«{title}», {year}", "«{title}»")
    lines = ["«Heat», 1995", "Heat (1995)", "«Alien»"]
    matched = match_lines(lines, INDEX, [], [("Heat", 1995)], form)
    assert [(x.item_id, x.truth) for x in matched] == [("h", 0), (None, None), ("a", None)]
    assert matched[1].item is None
    assert hits(["Heat (1995)"], [], [("Heat", None)], line_format("")) == [0]
