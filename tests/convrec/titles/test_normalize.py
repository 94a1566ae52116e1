from __future__ import annotations

import pytest

from convrec.titles.normalize import (
    clean_text,
    clean_title,
    exact_key,
    plain_words,
    split_bare_year,
    split_year,
)


@pytest.mark.parametrize(
    ("text", "rest", "year"),
    [
        ("Heat (1995)", "Heat", 1995),
        ("Heat (1972 film)", "Heat", 1972),
        ("Lost [2004–2010]", "Lost", 2004),
        ("**Heat (1995)**", "Heat", 1995),
        ("2012 (2009)", "2012", 2009),
        ("Blade Runner 2049", "Blade Runner 2049", None),
        ("The Wall (201)", "The Wall (201)", None),
        ("(1999)", "(1999)", None),
    ],
)
def test_split_year(text: str, rest: str, year: int | None) -> None:
    assert split_year(text) == (rest, year)


def test_a_bare_year_is_split_only_if_plausible() -> None:
    assert split_bare_year("Dune 2021") == ("Dune", 2021)
    assert split_bare_year("Blade Runner 2049") == ("Blade Runner 2049", None)
    assert split_bare_year("1984") == ("1984", None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Amélie", "amelie"),
        ("Love & Other Drugs", "Love and Other Drugs"),
        ("Rocky IV", "Rocky 4"),
        ("Kill Bill: Vol. 2", "Kill Bill Volume 2"),
        ("John Wick: Chapter Two", "John Wick: Chapter 2"),
        ("The Godfather: Part II", "The Godfather 2"),
        ("The 6th Man", "The Sixth Man"),
        ("Spun versus Spun", "Spun vs. Spun"),
        ("M*A*S*H", "MASH"),
        ("20,000 Leagues", "20000 Leagues"),
        ("Schindler’s List", "Schindler's List"),
    ],
)
def test_equal_words(one: str, other: str) -> None:
    assert plain_words(one) == plain_words(other)


def test_different_words() -> None:
    assert plain_words("Rocky II") != plain_words("Rocky III")
    assert plain_words("I, Robot") == ["i", "robot"]
    assert plain_words("!!!") == []


def test_exact_key_ignores_case_quotes_and_spaces_only() -> None:
    assert exact_key("Molly’s  Game ") == exact_key("molly's game")
    assert exact_key("Amélie") != exact_key("Amelie")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("He\u200bat", "Heat"),
        ("\ufeffRan", "Ran"),
        ("Ro\xadnin", "Ronin"),
        ("\u202aHeat\u202c\u200e", "Heat"),
        ("\u2066Heat\u2069", "Heat"),
        ("He\u2060at\u034f", "Heat"),
        ("I \u2764\ufe0f Huckabees", "I \u2764 Huckabees"),
        ("Heat\U000e0067\U000e007f", "Heat"),
        ("He\u200dat\u200c", "Heat"),
        ("Fast &amp; Furious", "Fast & Furious"),
        ("Fast &amp;amp; Furious", "Fast & Furious"),
        ("Ocean&#39;s Eleven", "Ocean's Eleven"),
        ("Ocean&#x2019;s Eleven", "Ocean\u2019s Eleven"),
        ("Am&eacute;lie", "Am\u00e9lie"),
        ("&quot;Heat&quot;", '"Heat"'),
        ("Am%C3%A9lie", "Am\u00e9lie"),
        ("The%20Big%20Sick%20%282017%29", "The Big Sick (2017)"),
        ("100%25 Wolf", "100% Wolf"),
        ("Fast%20%26amp%3B%20Furious", "Fast & Furious"),
        ("Heat%2520Wave", "Heat Wave"),
    ],
)
def test_clean_text_drops_invisible_characters_and_decodes_escapes(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned
    assert exact_key(text) == exact_key(cleaned)


@pytest.mark.parametrize(
    "text",
    [
        "AT&T",
        "Fast & Furious",
        "Q&A",
        "&c",
        "R&Bcopy",
        "R&Bcopy; that",
        "Tom &Jerry; again",
        "100% Wolf",
        "100% Wolf%20",
        "50%50",
        "The 99%",
        "99%ad",
        "Heat%00",
        "1+1",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\U0001f468\u200d\U0001f469",
        "Am\u00e9lie\n",
    ],
)
def test_clean_text_leaves_other_text_alone(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.timeout(60)  # a second is enough
@pytest.mark.parametrize(
    "unit", ["&amp;", "&", "%C3%A9", "%", "\u200b", "\u200c", "\u0645\u200c", ";&#"]
)
def test_clean_text_takes_linear_time(unit: str) -> None:
    clean_text("\u0645" + unit * (1_000_000 // len(unit)) + "\u0645")


@pytest.mark.parametrize(
    ("title", "cleaned"),
    [
        ("Heat\uff081995\uff09", "Heat (1995)"),
        ("Heat \uff3b\uff11\uff19\uff19\uff15\uff3d", "Heat (1995)"),
        ("Heat\u30101995\u3011", "Heat (1995)"),
        ("\u300aHeat\u300b", "Heat"),
        ("\u300aHeat\u300b\uff081995\uff09", "Heat (1995)"),
        ("\u300cHeat\u300d (1995)", "Heat (1995)"),
        ("\u300eHe\u200bat\u300f", "Heat"),
        ("\u300cA\u300d\u306e\u60b2\u5287", "\u300cA\u300d\u306e\u60b2\u5287"),
        ("Heat\uff08\u30ea\u30e1\u30a4\u30af\uff09", "Heat\uff08\u30ea\u30e1\u30a4\u30af\uff09"),
        ('"Heat"', '"Heat"'),
        ("\u201cHeat\u201d", "\u201cHeat\u201d"),
        ("Am\u00e9lie (2001)", "Am\u00e9lie (2001)"),
        ("Heat (1995.0)", "Heat (1995)"),
        ("2.0 (1995.00)", "2.0 (1995)"),
        ("Heat (1995.5)", "Heat (1995.5)"),
        ("Area (12345.0)", "Area (12345.0)"),
    ],
)
def test_clean_title_reads_full_width_years_and_cjk_quotes(title: str, cleaned: str) -> None:
    assert clean_title(title) == cleaned
