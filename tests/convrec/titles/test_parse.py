from __future__ import annotations

import pytest

from convrec.titles.normalize import plain_words, split_bare_year
from convrec.titles.parse import parse_title
from tests.support.catalogs import linker


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Matrix, The (1999)", ["The Matrix"]),
        ("Bear, The (Ours, L') (1988)", ["The Bear", "L'Ours"]),
        ("Seven (a.k.a. Se7en) (1995)", ["Seven", "Se7en"]),
        ("Seven aka Se7en", ["Seven", "Se7en"]),
        ("Dr. Strangelove or: How I Learned", ["Dr. Strangelove", "How I Learned"]),
        ("[REC]² (2009)", ["REC 2"]),
        ("(500) Days of Summer (2009)", ["500 Days of Summer"]),
        ("Solaris (film)", ["Solaris"]),
        ("Deathly Hallows (Part 2)", ["Deathly Hallows Part 2"]),
    ],
)
def test_names_of_a_title(text: str, names: list[str]) -> None:
    found = parse_title(text).names
    assert list(found[: len(names)]) == names
    assert len(found) <= len(names) + 1  # the title with its brackets read as text may follow


@pytest.mark.parametrize(
    "text",
    [
        "Heat\uff081995\uff09",
        "Heat \uff08\uff11\uff19\uff19\uff15\uff09",
        "\uff28\uff45\uff41\uff54 (1995)",
        "Heat\uff3b1995\uff3d",
        "Heat\u30101995\u3011",
        "Heat\u30141995\u3015",
        "Heat\u3000(1995)",
        "\u300aHeat\u300b(1995)",
        "\u300aHeat\u300b\uff081995\uff09",
        "\u300aHeat (1995)\u300b",
        "\u300cHeat\u300d(1995)",
        "\u300eHeat\u300f (1995)",
        "\uff62Heat\uff63 (1995)",
        "\u3008Heat\u3009 (1995)",
        "\u00abHeat\u00bb (1995)",
        "\u00bbHeat\u00ab (1995)",
        "\u2039Heat\u203a (1995)",
        "\u201eHeat\u201c (1995)",
        "\u201eHeat\u201d (1995)",
        "\u201cHeat\u201d (1995)",
        "Heat\u2122 (1995)",
        "\u200bHe\u00adat\ufeff (1995)",
        "Heat%20(1995)",
        "Heat &#40;1995&#41;",
        "Heat (1995, film)",
        "Heat (film, 1995)",
        "Heat (film) (1995)",
        "Heat (Film 1995)",
        "Heat (1995.0)",
    ],
)
def test_characters_around_a_title_and_its_year(text: str) -> None:
    title = parse_title(text)
    assert (title.names[0], title.year) == ("Heat", 1995)
    link = linker(("Heat", 1995), ("Heat", 1986)).link(text)
    assert link is not None
    assert (link.year, link.score, link.note) == (1995, 100.0, "")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\u300aHeat\u300b and more", "\u300aHeat\u300b and more"),
        ("\u201eMatrix, The\u201c", "The Matrix"),
        ("100% Wolf", "100% Wolf"),
        ("Fast & Furious", "Fast & Furious"),
        ("AT&T", "AT&T"),
    ],
)
def test_other_text_stays_part_of_the_name(text: str, name: str) -> None:
    assert parse_title(text).names[0] == name


@pytest.mark.parametrize(
    ("text", "remarks"),
    [
        ("Heat (remake) (1995)", ["remake"]),
        ("Heat (remake) [TV series]", ["TV series", "remake"]),
        ("Heat (1995 film)", ["film"]),
        ("(500) Days of Summer", []),
        ("The (Not) So Great Escape", []),
        ("Kill Bill (Vol. 2)", []),
        ("Seven (a.k.a. Se7en)", []),
        ("Heat ()", []),
        ("Heat (!)", ["!"]),
    ],
)
def test_remarks_follow_the_title(text: str, remarks: list[str]) -> None:
    assert [remark.text for remark in parse_title(text).remarks] == remarks


@pytest.mark.timeout(60)  # milliseconds are enough
@pytest.mark.parametrize("text", ["(" * 100_000, " " * 100_000 + "or", "a, " * 50_000 + "(1999"])
def test_hostile_text_is_read_in_linear_time(text: str) -> None:
    parse_title(text)
    split_bare_year(text)
    plain_words(text)
