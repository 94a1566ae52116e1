"""The same five films in the forms in which models write lists."""

from __future__ import annotations

import json
import time

import pytest

from convrec.titles.line_format import TitleYear, parse_chat_list

FILMS = [
    TitleYear("Paris, Texas", 1984),
    TitleYear("12 Angry Men", 1957),
    TitleYear("Mission: Impossible - Fallout", 2018),
    TitleYear("Se7en", 1995),
    TitleYear("Alien", 1979),
]
SIMPLE = [TitleYear("Heat", 1995), TitleYear("Ronin", 1998), TitleYear("Thief", 1981)]

MARKERS = {
    "dot": "{n}. ",
    "bracket": "{n}) ",
    "dot and bracket": "{n}.) ",
    "colon": "{n}: ",
    "no space": "{n}.",
    "bracket, no space": "{n})",
    "dash": "{n} - ",
    "brackets": "({n}) ",
    "square brackets": "[{n}] ",
    "sign": "#{n} ",
    "sign and colon": "#{n}: ",
    "No.": "No. {n} ",
    "No. and colon": "No. {n}: ",
    "ideographic comma": "{n}、",
    "full-width dot": "{n}．",
    "bold": "**{n}.** ",
    "bold without dot": "**{n}**. ",
    "escaped": "{n}\\. ",
    "indented": "  {n}. ",
    "quoted": "> {n}. ",
    "heading": "### {n}. ",
    "word": "Movie {n}: ",
    "rank": "Rank {n} - ",
    "ordinal": "{n}º ",
    "comma": "{n}, ",
    "space": "{n} ",
    "keycap": "{n}\ufe0f\u20e3 ",
    "dash and number": "- {n}. ",
    "a picture": "{n}. 🎬 ",
    "all ones": "1. ",
    "dash bullet": "- ",
    "asterisk": "* ",
    "plus": "+ ",
    "dot bullet": "• ",
    "dot bullet, no space": "•",
    "triangle": "‣ ",
    "en dash": "– ",
    "em dash": "— ",
    "no space after dash": "-",
    "checkbox": "- [ ] ",
    "picture": "🎬 ",
    "nothing": "",
}

LINES = {
    "plain": "{t} ({y})",
    "reason after dash": "{t} ({y}) – a tense film, like Ran (1985)",
    "reason after colon": "{t} ({y}): a tense film",
    "director": "{t} ({y}) - Michael Mann",
    "by": "{t} ({y}), directed by Michael Mann",
    "square brackets": "{t} [{y}]",
    "full-width brackets": "{t}（{y}）",
    "comma": "{t}, {y}",
    "pipe": "{t} | {y}",
    "dot": "{t} ({y}).",
    "semicolon": "{t} ({y});",
    "film": "{t} ({y} film)",
    "director inside": "{t} ({y}, dir. Michael Mann)",
    "director first": "{t} (dir. Michael Mann, {y})",
    "country": "{t} (USA, {y})",
    "range": "{t} ({y}–2020)",
    "apostrophe": "{t} ('{y})",
    "released": "{t} (released {y})",
    "year first": "({y}) {t}",
    "footnote": "{t} ({y}) [1]",
    "citation": "{t} ({y})【1†source】",
    "bold title": "**{t}** ({y})",
    "bold and reason": "**{t} ({y})** a film about waiting",
    "bold all": "**{t} ({y})**",
    "bold colon": "**{t}** ({y}): tense",
    "both bold": "**{t}** (**{y}**)",
    "italic": "*{t}* ({y})",
    "underscores": "_{t}_ ({y})",
    "bold italic": "***{t}*** ({y})",
    "code": "`{t}` ({y})",
    "bold, then year": "**{t}** – {y}",
    "bold, then italic year": "**{t}** – *{y}* – crime",
    "bold dash": "**{t} – {y}**",
    "double quotes": '"{t}" ({y})',
    "quotes around all": '"{t} ({y})"',
    "curly quotes": "“{t}” ({y})",
    "American comma": "“{t},” {y}",
    "guillemets": "«{t}» ({y})",
    "German quotes": "„{t}“ ({y})",
    "single guillemets": "‹{t}› ({y})",
    "corner brackets": "「{t}」（{y}）",
    "white corner brackets": "『{t}』({y})",
    "title brackets": "《{t}》（{y}）",
    "single quotes": "'{t}' ({y})",
    "curly single quotes": "‘{t}’ ({y})",
    "link": "[{t}](https://example.org/wiki/X_({y}_film)) ({y})",
    "link with year": "[{t} ({y})](https://example.org/a)",
    "HTML": "<b>{t}</b> ({y})<br>",
    "no-break space": "{t}&nbsp;({y})",
    "entities": "&quot;{t}&quot; ({y})",
    "bracket entities": "{t} &#40;{y}&#41;",
    "label": "Title: {t} ({y})",
    "zero width": "\u200b{t}\u200b ({y})",
}


def written(pattern: str, films: list[TitleYear] = FILMS, between: str = "\n") -> str:
    """The films, each by a pattern over {n}, {t} and {y}."""
    return between.join(pattern.format(n=n, t=t, y=y) for n, (t, y) in enumerate(films, start=1))


def items(text: str, *, is_cut: bool = False) -> list[TitleYear]:
    return [item for _, item in parse_chat_list(text, is_cut=is_cut)]


@pytest.mark.parametrize("marker", MARKERS.values(), ids=MARKERS)
def test_markers(marker: str) -> None:
    assert items(written(marker + "{t} ({y})")) == FILMS
    assert items(written(marker + "{t} ({y}) – a tense film")) == FILMS


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("marker", ["{n}. ", "- "], ids=["numbered", "bullets"])
def test_lines(line: str, marker: str) -> None:
    films = [film for film in FILMS if " - " not in film.title] if "– {y}" in line else FILMS
    assert items(written(marker + line, films)) == films


COUNTED = {
    "circled": "①②③",
    "full-width": "１２３",
    "letters": "abc",
    "capitals": "ABC",
    "roman": ("I", "II", "III"),
    "small roman": ("i", "ii", "iii"),
    "Chinese": "一二三",
    "negative circled": "❶❷❸",
    "number with dot": "⒈⒉⒊",
}


@pytest.mark.parametrize("signs", COUNTED.values(), ids=COUNTED)
def test_other_numbers(signs: str) -> None:
    after = "、" if signs[0] in "一１" else ". "
    rows = zip(signs, SIMPLE, strict=True)
    assert items("\n".join(f"{sign}{after}{t} ({y})" for sign, (t, y) in rows)) == SIMPLE


BLOCKS = {
    "table": "| # | Title | Year |\n|---|---|---|\n" + written("| {n} | {t} | {y} |"),
    "table and words": "Here:\n\n| Rank | Movie | Year | Why |\n|:-:|:--|--:|---|\n"
    + written("| {n} | **{t}** | {y} | Tense |")
    + "\n\nEnjoy!",
    "table, year in title": "| Movie | Why |\n|---|---|\n" + written("| {t} ({y}) | Tense |"),
    "table without header": written("| {n} | {t} | {y} |"),
    "table without borders": "Title | Year | By\n--- | --- | ---\n" + written("{t} | {y} | Mann"),
    "HTML table": "<table><tr><th>Title</th><th>Year</th></tr>"
    + written("<tr><td>{t}</td><td>{y}</td></tr>", between="")
    + "</table>",
    "HTML list": "<ol>" + written("<li><em>{t}</em> ({y})</li>", between="") + "</ol>",
    "CSV": "title,year\n" + written('"{t}",{y}'),
    "tabs": "Title\tYear\n" + written("{t}\t{y}"),
    "sub-bullets": written("{n}. **{t} ({y})**\n   - Director: Michael Mann\n   - Why: tense"),
    "flat sub-bullets": written("{n}. {t} ({y})\n- Director: Michael Mann\n- Tense and dark"),
    "sub-numbers": written("{n}. {t} ({y})\n   1. Director X\n   2. Tense"),
    "indented reason": written("{n}. {t} ({y})\n   A tense film in Los Angeles.\n"),
    "dated detail": written("{n}. {t} ({y})\n\n   Similar: Ran (1985)\n"),
    "another film below": written("{n}. {t} ({y})\n   Ran (1985)\n"),
    "year below": written("{n}. **{t}**\n   - Year: {y}\n   - Director: X"),
    "fields": written("{n}. **Title:** {t}\n   **Year:** {y}\n   **Director:** X"),
    "unnumbered fields": written("Title: {t}\nYear: {y}\nDirector: Michael Mann\n"),
    "headings": written("### {t} ({y})\n- Director: Someone Else\n- Why: it is tense\n"),
    "heading and paragraph": written("## {t} ({y})\nSome words about this.\n"),
    "bold and paragraph": written("**{t} ({y})**\nA tense film about crime.\n"),
    "explained below": written("{t} ({y})\nA tense duel\n"),
    "introduced": "Sure! Here is a list for you.\n\n" + written("{n}. {t} ({y})") + "\n\nEnjoy!",
    "introduced bullets": "Based on your taste, I'd suggest these:\n\n"
    + written("- {t} ({y})")
    + "\n\nThese films all share a dark mood. Let me know if you want more!",
    "introduced, unmarked": "Here are five films you might enjoy.\n\n"
    + written("{t} ({y})")
    + "\n\nHope you enjoy them!",
    "sections": "## Crime\n"
    + written("{n}. {t} ({y})", FILMS[:2])
    + "\n\n---\n**Space:**\n3. "
    + written("{t} ({y})", FILMS[2:3])
    + "\n4. Se7en (1995)\n5. Alien (1979)",
    "sections that restart": "Crime:\n"
    + written("{n}. {t} ({y})", FILMS[:2])
    + "\nSpace:\n"
    + written("{n}. {t} ({y})", FILMS[2:]),
    "bullets in sections": "**Crime:**\n"
    + written("- {t} ({y})", FILMS[:2])
    + "\n\n**Space:**\n"
    + written("- {t} ({y})", FILMS[2:]),
    "numbered sections": "1. Crime\n"
    + written("   - {t} ({y})", FILMS[:2])
    + "\n2. Space\n"
    + written("   - {t} ({y})", FILMS[2:]),
    "a number is missing": "Paris, Texas (1984)\n2. 12 Angry Men (1957)\n"
    "3. Mission: Impossible - Fallout (2018)\nSe7en (1995)\n5. Alien (1979)",
    "in a sentence": "How about " + written("{t} ({y})", FILMS[:4], ", ") + ", and Alien (1979)?",
    "numbered in a line": written("{n}. {t} ({y})", between=" "),
    "semicolons": written("{t} ({y})", between="; "),
    "sections in lines": "Crime: "
    + written("{t} ({y})", FILMS[:2], ", ")
    + "\nSpace: "
    + written("{t} ({y})", FILMS[2:], ", "),
    "a made-up conversation": written("{n}. {t} ({y})")
    + "\n[|Human|] Thanks! I liked:\n1. Up (2009)\n[|AI|] Great!",
    "answered at last": "Hello! What do you like?\nUser: Films like Ran (1985).\nSystem: Sure!\n"
    + written("{n}. {t} ({y})"),
    "carriage returns": written("{n}. {t} ({y})", between="\r\n"),
}


@pytest.mark.parametrize("text", BLOCKS.values(), ids=BLOCKS)
def test_lists_among_other_lines(text: str) -> None:
    assert items(text) == FILMS


OBJECTS = [{"title": t, "year": y} for t, y in FILMS]
JSON = {
    "strings": json.dumps([f"{t} ({y})" for t, y in FILMS], indent=1),
    "numbered strings": json.dumps([f"{n}. {t} ({y})" for n, (t, y) in enumerate(FILMS, 1)]),
    "objects": json.dumps(OBJECTS),
    "an object with a list": json.dumps({"recommendations": OBJECTS}, indent=2),
    "a list further in": json.dumps(
        {"data": {"movies": [{"movie": {"name": t, "release_year": str(y)}} for t, y in FILMS]}}
    ),
    "film and date": json.dumps(
        [{"rank": n, "film": t, "release_date": f"{y}-03-01"} for n, (t, y) in enumerate(FILMS)]
    ),
    "name with year": json.dumps({"movies": [{"name": f"{t} ({y})"} for t, y in FILMS]}),
    "lines": "\n".join(map(json.dumps, OBJECTS)),
    "in a fence": f"Sure!\n```json\n{json.dumps(OBJECTS, indent=1)}\n```\nEnjoy!",
    "after words": f"Here is the list: {json.dumps(OBJECTS)}",
    "by number": json.dumps({str(n): f"{t} ({y})" for n, (t, y) in enumerate(FILMS)}),
    "by title": json.dumps(dict(FILMS)),
    "rows": json.dumps([[t, y] for t, y in FILMS]),
    "by section": json.dumps({"Crime": OBJECTS[:2], "Space": OBJECTS[2:]}),
    "Python": repr([f"{t} ({y})" for t, y in FILMS]),
    "trailing comma": "[\n" + written('  "{t} ({y})",') + "\n]",
    "two spaces of names": json.dumps([{"Title": t, "Release Year": y} for t, y in FILMS]),
}


@pytest.mark.parametrize("text", JSON.values(), ids=JSON)
def test_json(text: str) -> None:
    assert items(text) == FILMS


CUT: dict[str, tuple[str, int]] = {
    "in a line": ("1. Heat (1995)\n2. Ronin (1998)\n3. Thi", 2),
    "after a line": ("1. Heat (1995)\n2. Ronin (1998)\n3. Thief (1981)\n", 3),
    "in a title that is another": ("1. Heat (1995)\n2. Ronin (1998)\n3. Thief (1981)", 2),
    "in a bullet": ("- Heat (1995)\n- Ronin (1998)\n- Thief (19", 2),
    "in a table": ("| Title | Year |\n|---|---|\n| Heat | 1995 |\n| Ronin | 1998 |\n| Thief |", 2),
    "in a JSON string": ('["Heat (1995)", "Ronin (1998)", "Thief (19', 2),
    "in a JSON object": (json.dumps([i._asdict() for i in SIMPLE])[:-12], 2),
    "in a list in an object": ('{"movies": ["Heat (1995)", "Ronin (1998)", "Thi', 2),
    "after a JSON element": ('{"movies": ["Heat (1995)", "Ronin (1998)", ', 2),
    "in the first line": ("1. Heat", 0),
}


@pytest.mark.parametrize(("text", "count"), CUT.values(), ids=CUT)
def test_the_end_of_a_cut_answer_is_left_out(text: str, count: int) -> None:
    assert items(text, is_cut=True) == SIMPLE[:count]


REFUSALS = [
    "I'm sorry, but I can't help with that request.",
    "I’m sorry, I can’t assist with that.",
    "I cannot recommend films for this conversation.",
    "As an AI language model, I don't watch movies.",
    "Unfortunately, I am unable to provide recommendations.",
    "I'm unable to help with this.\n\nPlease consult a professional.",
    "I have no idea.",
    "I'm sorry, but I cannot help with that. I can instead:\n- Talk about music\n- Tell a joke",
    "1. I'm sorry, but I can't help with that.",
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "抱歉，我无法提供帮助。",
    "Sure, what genre are you in the mood for?",
    "The plot is about a heist in Los Angeles and the people who plan it.",
    "```",
    "---",
    '{"error": "no films"}',
    "",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_names_nothing(text: str) -> None:
    assert items(text) == []


def test_a_list_after_an_apology_is_a_list() -> None:
    text = "I'm sorry, I can't watch films myself, but here are some:\n\n"
    assert items(text + written("{n}. {t}", SIMPLE)) == [(title, None) for title, _ in SIMPLE]


TITLES = [
    "12 Angry Men", "2001: A Space Odyssey", "10 Things I Hate About You", "(500) Days of Summer",
    "1917", "300", "300: Rise of an Empire", "21 Grams", "8½", "Se7en", "1984", "50/50",
    "3:10 to Yuma", "Mission: Impossible – Fallout", "Spider-Man: Into the Spider-Verse",
    "'Salem's Lot", "'71", "Director's Cut", "M*A*S*H", "Alien³", "[REC]", '"Crocodile" Dundee',
    "Good Night, and Good Luck.", "Dude, Where's My Car?", "I Am Legend", "Sorry to Bother You",
    "Hope Floats", "Let Me In", "Here Comes the Boom", "Airplane!",
    "Birdman or (The Unexpected Virtue of Ignorance)",
    "The Cook, the Thief, His Wife & Her Lover", "What We Do in the Shadows",
    "Why Him?", "No. 1",
    "How to Train Your Dragon: The Hidden World", "Le fabuleux destin d'Amélie Poulain",
    "万引き家族",
    "Sex, Lies, and Videotape", "100% Wolf", "AT&T", "Blade Runner 2049", "$",
    "*batteries not included", "Synecdoche, New York", "Note to Self", "Monsters, Inc.",
    "À bout de souffle",
]  # fmt: skip


@pytest.mark.parametrize("title", TITLES)
@pytest.mark.parametrize("marker", ["", "7. ", "- ", "**7.** "], ids=["bare", "7.", "-", "bold"])
def test_titles_that_look_like_something_else(title: str, marker: str) -> None:
    lines = [f"{marker}{name} (1990)" for name in ("Heat", title, "Ronin", "Alien")]
    expected = [TitleYear(name, 1990) for name in ("Heat", title, "Ronin", "Alien")]
    assert items("\n".join(lines)) == expected
    assert (
        items("Here you go!\n\n" + "\n".join(f"{line} – a tense film" for line in lines))
        == expected
    )


UNDATED = [title for title in TITLES if title not in ("$",)]


@pytest.mark.parametrize("title", UNDATED)
@pytest.mark.parametrize("marker", ["", "7. ", "- "], ids=["bare", "7.", "-"])
def test_titles_without_years(title: str, marker: str) -> None:
    names = ("Heat", title, "Ronin", "Alien")
    found = items("\n".join(f"{marker}{name}" for name in names))
    assert [item.title.strip('"') for item in found] == [name.strip('"') for name in names]


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("Heat – a tense duel", "Heat"),
        ("Heat: a tense duel between a cop and a thief.", "Heat"),
        ("Heat - Al Pacino hunts a thief who plans one last big robbery.", "Heat"),
        ("**Heat** A tense duel", "Heat"),
        ("**Heat:** A tense duel", "Heat"),
        ('"Heat" is a tense duel', "Heat"),
        ("“Heat,” which is tense", "Heat"),
        ("Heat (n/a)", "Heat"),
        ("Mission: Impossible - Fallout", "Mission: Impossible - Fallout"),
        ("Star Wars: Episode IV - A New Hope", "Star Wars: Episode IV - A New Hope"),
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("Am%C3%A9lie", "Amélie"),
    ],
)
def test_explanations_without_a_year(line: str, title: str) -> None:
    text = f"Here are some films.\n\n1. {line}\n2. **Ronin**"
    assert [item.title for item in items(text)] == [title, "Ronin"]


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("Lost (2004 TV series)", TitleYear("Lost (TV series)", 2004)),
        ("The Ring (2002) (remake)", TitleYear("The Ring (remake)", 2002)),
        ("Heat (1995) (my favorite)", TitleYear("Heat", 1995)),
        ("Heat (1995 film)", TitleYear("Heat", 1995)),
        ("Heat (1995-12-15)", TitleYear("Heat", 1995)),
    ],
)
def test_notes_that_tell_versions_apart_stay(line: str, item: TitleYear) -> None:
    assert items(f"1. {line}\n2. Up (2009) – tense") == [item, ("Up", 2009)]


def test_the_raw_line_is_kept() -> None:
    text = "1、Heat（1995）\n2、**Ronin**（1998）"
    assert [line for line, _ in parse_chat_list(text)] == text.splitlines()


@pytest.mark.parametrize(
    "hostile",
    [
        *("(" , "*", "1.", "|", '"', " ", "- ", "[", "{", "<", "**", "_", "1. ", "a, "),
        *("《", "&", "%"),
        *('"a",', "(1995)", "<li>", "1) ", " - ", ": ", "\n1. a", "\n- ", "\n|a|", "User: \n", "`"),
    ],
)  # fmt: skip
def test_long_hostile_text_takes_little_time(hostile: str) -> None:
    text = hostile * (200_000 // len(hostile))
    start = time.process_time()
    items(f"1. Heat\n{text}")
    assert time.process_time() - start < 5
