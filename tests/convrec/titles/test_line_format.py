from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from convrec.titles.line_format import (
    TitleYear,
    format_line,
    line_format,
    parse_chat_list,
    parse_line,
)

FORMS = [
    line_format(),
    line_format("{year}: {title}"),
    line_format("«{title}», {year}", "«{title}»"),
    line_format("{title} [{year}]", "{title} [no year]"),
    line_format("", "{title}"),
    line_format("", "* {title}"),
    line_format("{{{title}}} ({year})", "{{{title}}}"),
]
TITLES = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1)


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("Alien (1979)", TitleYear("Alien", 1979)),
        ("  Alien (1979) ", TitleYear("Alien", 1979)),
        ("(500) Days of Summer (2009)", TitleYear("(500) Days of Summer", 2009)),
        ("Alien", TitleYear("Alien", None)),
        ("1. Alien (1979)", TitleYear("1. Alien", 1979)),
        ("1984 (1984)", TitleYear("1984", 1984)),
        ("", None),
        ("   ", None),
    ],
)
def test_parse_line(line: str, item: TitleYear | None) -> None:
    assert parse_line(line) == item


def test_lines_round_trip() -> None:
    for item in (TitleYear("Alien", 1979), TitleYear("Heat", None)):
        assert parse_line(format_line(*item)) == item


def test_a_chat_list_is_parsed_leniently() -> None:
    text = 'Some films:\n\n1. **Alien** (1979)\n2) "Heat" (1995)\n- 13th\n• *Up* (2009)\n20. 1917'
    assert [item for _, item in parse_chat_list(text)] == [
        TitleYear("Alien", 1979),
        TitleYear("Heat", 1995),
        TitleYear("13th", None),
        TitleYear("Up", 2009),
        TitleYear("1917", None),
    ]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.example)
@given(title=TITLES.map(str.strip).filter(bool), year=st.none() | st.integers(1000, 9999))
def test_a_format_parses_what_it_writes(form, title, year) -> None:
    line = form.format(title, year)
    if year is None and form.has_years:
        assume(form.parse(line).year is None)  # such a title reads as one with a year
    assert form.parse(line) == TitleYear(title, year if form.has_years else None)


def test_a_line_in_another_format_is_not_parsed() -> None:
    form = line_format("«{title}», {year}", "«{title}»")
    assert form.parse("Alien (1979)") is None
    assert form.parse("«Alien»,1979") == TitleYear("Alien", 1979)
    assert form.parse(" ") is None


def test_without_years_a_year_belongs_to_the_title() -> None:
    form = line_format("", "{title}")
    assert form.format("Emma", 1815) == "Emma"
    assert form.parse("Emma (1815)") == TitleYear("Emma (1815)", None)


def test_example_and_identity_settings() -> None:
    assert (line_format().example, line_format().identity_settings) == ("Title (year)", {})
    bare = line_format("", "{title}")
    assert bare.example == "Title"
    assert bare.identity_settings == {"line": "", "line_without_year": "{title}"}
    assert line_format("", "{title}") is bare


def test_a_chat_list_may_mix_both_formats() -> None:
    form = line_format("{year}: {title}")
    assert [item for _, item in parse_chat_list("1. 1979: Alien\n2. Heat (1995)\n3. Up", form)] == [
        TitleYear("Alien", 1979),
        TitleYear("Heat", 1995),
        TitleYear("Up", None),
    ]
    bare = line_format("", "{title}")
    assert parse_chat_list("- Dune (1965)", bare) == [("- Dune (1965)", TitleYear("Dune", 1965))]


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("How about Heat, Ronin, Speed, and Rocky?", ["Heat", "Ronin", "Speed", "Rocky"]),
        (
            "Sure! Try films such as Heat (1995), Ronin (1998), Speed (1994), Big (1988).",
            ["Heat", "Ronin", "Speed", "Big"],
        ),
        ("Sex, Lies, and Videotape", ["Sex, Lies, and Videotape"]),
        ("The Good, the Bad and the Ugly\nHeat", ["The Good, the Bad and the Ugly", "Heat"]),
        ("I have no idea.", []),
    ],
)
def test_a_list_in_one_sentence_is_split_at_commas(text: str, titles: list[str]) -> None:
    assert [item.title for _, item in parse_chat_list(text)] == titles


def test_only_namesakes_have_years() -> None:
    form = line_format(only_namesakes=True)
    lines = form.for_titles(["Beauty and the Beast", "beauty  and the beast", "Up", "Her (2049)"])
    items = [("Beauty and the Beast", 1991), ("BEAUTY and the Beast", 2017), ("Up", 2009)]
    assert [lines.format(*item) for item in items] == [
        "Beauty and the Beast (1991)",
        "BEAUTY and the Beast (2017)",
        "Up",
    ]
    assert [form.parse(lines.format(*item)) for item in items] == [*items[:2], ("Up", None)]
    assert form.parse(lines.format("Her (2049)", 2013)) == ("Her (2049)", 2013)
    assert lines.format("Beauty and the Beast", None) == "Beauty and the Beast"


def test_namesakes_have_an_identity_and_need_a_catalog() -> None:
    form = line_format(only_namesakes=True)
    assert form.identity_settings["years"] == "namesakes"
    assert (form.has_years, form.is_default, form.example) == (False, False, "Title")
    with pytest.raises(ValueError, match="for_titles"):
        form.format("Up", 2009)
    assert line_format().for_titles(["Up", "Up"]) is line_format()
