from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from convrec.titles.line_format import Item, format_line, line_format, parse_answer, parse_line

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
        ("Alien (1979)", Item("Alien", 1979)),
        ("  Alien (1979) ", Item("Alien", 1979)),
        ("(500) Days of Summer (2009)", Item("(500) Days of Summer", 2009)),
        ("Alien", Item("Alien", None)),
        ("1. Alien (1979)", Item("1. Alien", 1979)),
        ("1984 (1984)", Item("1984", 1984)),
        ("", None),
        ("   ", None),
    ],
)
def test_a_line_is_read_as_it_is_written(line: str, item: Item | None) -> None:
    assert parse_line(line) == item


def test_lines_come_back() -> None:
    for item in (Item("Alien", 1979), Item("Heat", None)):
        assert parse_line(format_line(*item)) == item


def test_an_answer_is_read_forgivingly() -> None:
    text = 'Some films:\n\n1. **Alien** (1979)\n2) "Heat" (1995)\n- 13th\n• *Up* (2009)\n20. 1917'
    assert [item for _, item in parse_answer(text)] == [
        Item("Alien", 1979),
        Item("Heat", 1995),
        Item("13th", None),
        Item("*Up*", 2009),
        Item("1917", None),
    ]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.words)
@given(title=TITLES.map(str.strip).filter(bool), year=st.none() | st.integers(1000, 9999))
def test_what_a_form_writes_it_reads(form, title, year) -> None:
    line = form.format(title, year)
    if year is None and form.years:
        assume(form.parse(line).year is None)  # such a title reads as one with a year
    assert form.parse(line) == Item(title, year if form.years else None)


def test_a_line_of_another_form_names_nothing() -> None:
    form = line_format("«{title}», {year}", "«{title}»")
    assert form.parse("Alien (1979)") is None
    assert form.parse("«Alien»,1979") == Item("Alien", 1979)
    assert form.parse(" ") is None


def test_without_years_a_year_belongs_to_the_title() -> None:
    form = line_format("", "{title}")
    assert form.format("Emma", 1815) == "Emma"
    assert form.parse("Emma (1815)") == Item("Emma (1815)", None)


def test_a_form_is_named_as_a_prompt_needs_it_and_keyed_where_it_is_another() -> None:
    assert (line_format().words, line_format().key) == ("Title (year)", {})
    bare = line_format("", "{title}")
    assert bare.words == "Title"
    assert bare.key == {"line": "", "line_without_year": "{title}"}
    assert line_format("", "{title}") is bare


def test_a_teacher_is_read_in_its_form_and_in_the_usual_one() -> None:
    form = line_format("{year}: {title}")
    assert [item for _, item in parse_answer("1. 1979: Alien\n2. Heat (1995)\n3. Up", form)] == [
        Item("Alien", 1979),
        Item("Heat", 1995),
        Item("Up", None),
    ]
    bare = line_format("", "{title}")
    assert parse_answer("- Dune (1965)", bare) == [("- Dune (1965)", Item("Dune", 1965))]


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
        ("I have no idea.", ["I have no idea."]),
    ],
)
def test_a_list_in_one_sentence_is_cut_at_its_commas(text: str, titles: list[str]) -> None:
    assert [item.title for _, item in parse_answer(text)] == titles
