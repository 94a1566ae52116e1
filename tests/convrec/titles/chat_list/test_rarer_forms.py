"""The same films in forms that models write now and then."""

from __future__ import annotations

import json
import time

import pytest

from convrec.llm.answer_text import clean_text
from convrec.titles.line_format import TitleYear, parse_chat_list

FILMS = [
    TitleYear("Paris, Texas", 1984),
    TitleYear("12 Angry Men", 1957),
    TitleYear("Mad Max: Fury Road", 2015),
    TitleYear("Thief", 1981),
]


def items(text: str) -> list[TitleYear]:
    return [item for _, item in parse_chat_list(text)]


def written(line: str, between: str = "\n") -> str:
    rows = (line.format(n=n, t=film.title, y=film.year) for n, film in enumerate(FILMS, 1))
    return between.join(rows)


LINES = {
    "number in bold": "**{n}** {t} ({y})",
    "square bracket": "{n}] {t} ({y})",
    "angle bracket": "{n}〉{t} ({y})",
    "one of four": "{n}/4: {t} ({y})",
    "one of four in words": "({n} of 4) {t} ({y})",
    "a mark before the number": "\u200e{n}. {t} ({y})",
    "a byte order mark": "\ufeff{n}. {t} ({y})",
    "zero width": "\u200b{n}. {t} ({y})",
    "LaTeX": "\\item \\textit{{{t}}} ({y})",
    "Chinese year": "{n}. 《{t}》（{y}年）——紧张的犯罪片",
    "Korean year": "{n}. <{t}> ({y}년) - 긴장감",
    "Russian year": "{n}) «{t}» ({y} г.) — напряжённый",
    "year with a doubt": "{n}. {t} ({y}?)",
    "about a year": "{n}. {t} (~{y})",
    "date with slashes": "{n}. {t} (03/12/{y})",
    "year first": "- {y}: {t}",
    "year first, dash": "{y} - {t}",
    "year last": "{n}. {t} {y}",
    "year last, semicolon": "{n}. {t}; {y}",
    "from a year": "- {t} from {y}",
    "fields in a line": "{n}. Movie: {t}, Year: {y}, Reason: tense",
    "credit before the year": '{n}. "{t}" - directed by Michael Mann ({y})',
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_lines(line: str) -> None:
    assert items(written(line)) == FILMS


TEXTS = {
    "fence": f"Here:\n```text\n{written('{t} ({y})')}\n```",
    "other fence": f"~~~\n{written('{n}. {t} ({y})')}\n~~~",
    "LaTeX": "\\begin{itemize}\n" + written("  \\item {t} ({y})") + "\n\\end{itemize}",
    "XML": f"<films>\n{written('<film><title>{t}</title><year>{y}</year></film>')}\n</films>",
    "XML, indented": "<recommendations>\n"
    + written("  <movie>\n    <rank>{n}</rank>\n    <title>{t}</title>\n    <year>{y}</year>\n")
    + "  </movie>\n</recommendations>",
    "a last heading": written("### {t} ({y})\n- Why: tense\n") + "\n### Final thoughts\nEnjoy!",
    "numbers in the introduction": "You like 1) heists 2) tension 3) cities. So:\n\n"
    + written("{n}. {t} ({y})"),
    "numbers in brackets in a line": written("({n}) {t} ({y})", "; "),
    "recommend": f"I'd recommend {written('{t} ({y})', ', ')}.",
    "suggest watching": "I would suggest watching " + written('"{t}" ({y})', ", ") + ".",
    "enjoy": f"You might enjoy {written('*{t}* ({y})', ', ')} as well.",
    "JSON columns": json.dumps({"title": [t for t, _ in FILMS], "year": [y for _, y in FILMS]}),
    "JSON by name": json.dumps({f"movie{n}": f"{t} ({y})" for n, (t, y) in enumerate(FILMS)}),
    "JSON with a text": json.dumps({"list": written("{n}. {t} ({y})"), "count": 4}),
    "JSON with other lists": json.dumps(
        {"liked": ["Alien (1979)"], "recommendations": [f"{t} ({y})" for t, y in FILMS]}
    ),
    "a string": '"' + written("{n}. {t} ({y})") + '"',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_texts(text: str) -> None:
    assert items(clean_text(text)[0]) == FILMS


@pytest.mark.parametrize(
    "text",
    [
        "I'd recommend Thief (1981).",
        "You should watch Thief (1981) – it's a great crime film!",
        "I think you'd love **Thief** (1981).",
    ],
)
def test_a_sentence_that_recommends_one_film(text: str) -> None:
    assert items(text) == [TitleYear("Thief", 1981)]


def test_a_sentence_may_advise_against_a_film() -> None:
    assert items("I would not watch Thief (1981) again.") == []


@pytest.mark.parametrize(
    "text",
    ["No.", "None", "N/A", "null", "Request denied.", "No recommendations.", "No movies found",
     "Content removed", "Error: context length exceeded"],
)  # fmt: skip
def test_an_answer_that_there_is_none(text: str) -> None:
    assert items(text) == []


@pytest.mark.parametrize(
    "titles",
    [
        ["Rocky II", "Apollo 13", "Blade Runner 2049", "Death Race 2000", "Heat"],
        ["2001: A Space Odyssey", "1984", "1917", "2046", "Thief"],
        ["No", "Nothing", "Stand by Me", "Borat - A Study", "None But the Brave"],
    ],
)
@pytest.mark.parametrize("marker", ["{n}. ", "- ", ""], ids=["numbers", "bullets", "none"])
def test_titles_that_look_like_these(titles: list[str], marker: str) -> None:
    text = "\n".join(marker.format(n=n) + title for n, title in enumerate(titles, 1))
    assert items(text) == [(title, None) for title in titles]


def test_decades_and_kinds_stay_with_the_title() -> None:
    assert items("1. Heat (1990s)\n2. Lost (TV Series, 2004–2010)") == [
        ("Heat (1990s)", None),
        ("Lost (TV Series)", 2004),
    ]


@pytest.mark.parametrize(
    "hostile", ["x 1990 ", "like A", "<title>", "\\item ", "1995: a ", "1/2: "]
)
def test_long_hostile_text_takes_little_time(hostile: str) -> None:
    text = hostile * (200_000 // len(hostile))
    start = time.process_time()
    items(f"1. Heat\n{text}")
    items(text)
    assert time.process_time() - start < 5
