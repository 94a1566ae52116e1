"""Titles as people write them, made comparable.

`exact_key` is the strict comparison (case, quotes and spaces aside) that rewards and metrics use.
The rest serves linking: a written title is split into its year and its names (main title,
alternatives in brackets or after "a.k.a."), and a name becomes a row of plain words in which
accents, punctuation, "&", roman numerals, number words and "Part"/"Vol." no longer matter.

Any text may come: marks that nobody sees are dropped, and what is too long for a title is not taken
apart, since `unicodedata.normalize` takes quadratic time on a long run of accents. Most titles are
plain ASCII with neither brackets nor commas; the quick looks before each pattern serve them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

FIRST_YEAR, LAST_YEAR = 1400, 2035
"""Years outside these are taken for mistakes."""

ARTICLES = frozenset({"a", "an", "the"})

_QUOTES = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "`": "'", "“": '"', "”": '"', "–": "-", "—": "-"}
)
_UNSEEN = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\xad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+")
_BRACKET = re.compile(r"[(\[]([^()\[\]]*)[)\]]")
_YEAR_BRACKET = re.compile(
    r"^(\d{4})(?:\s*[-–—/]\s*(?:\d{2,4})?)?(?:\s+[a-z][\w .-]*)?$", re.IGNORECASE
)
_BARE_YEAR = re.compile(r"[\s,–—-]+(\d{4})$")
_AKA = re.compile(r"\s*\ba\.?\s?k\.?\s?a\b\.?:?\s*", re.IGNORECASE)
_OR = re.compile(r",?\s+or:\s+|,\s+or,?\s+", re.IGNORECASE)
_LAST_OR = re.compile(r"\s+or\W*$", re.IGNORECASE)
_SLASH = re.compile(r"\s+/\s+")
_SIGNS = (" or", "/", "aka", "a.k", "a k", "a. k")
_TRAILING_ARTICLE = re.compile(
    r"^(?P<rest>.+),\s+(?P<article>the|an?|la|le|les|l'|el|los|las|il|lo|i|gli|der|die|das|den|det|"
    r"de|het|een|ein|eine|un|une|una|uno|en|et|os?|as)$",
    re.IGNORECASE,
)
_DESCRIPTOR = re.compile(
    r"^(?:[a-z-]+\s+)?(?:films?|movies?|tv|(?:tv[ -])?(?:mini[ -]?)?series|show|television|video|"
    r"short|documentary|remake|original|uncut|unrated|remastered|animated|anime|cut|edition|"
    r"version|imax|3-?d)$",
    re.IGNORECASE,
)
_PART = re.compile(
    r"^(?:part|vol|volume|chapter|episode|season|no)\b\.?\s*\S+$|^\W*\d+\W*$", re.IGNORECASE
)
_NUMBER = re.compile(r"^\W*(?:\d{1,2}|[²³])\W*$")

_LETTERS = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "ß": "ss", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
)
_JOINED = re.compile(r"['`.*’]|(?<=\d),(?=\d{3})")
_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"\d")
_THREE_D = re.compile(r"\b3[- ]d\b")
_ROMAN = re.compile(r"^x{0,3}(?:ix|iv|v?i{0,3})$")
_ROMAN_VALUE = {"i": 1, "v": 5, "x": 10}
_COUNTERS = frozenset({"part", "pt", "vol", "volume", "chapter", "episode", "ep", "number", "no"})
_CARDINALS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)  # fmt: skip
_ORDINALS = {
    "first": "1st", "second": "2nd", "third": "3rd", "fourth": "4th", "fifth": "5th",
    "sixth": "6th", "seventh": "7th", "eighth": "8th", "ninth": "9th", "tenth": "10th",
    "eleventh": "11th", "twelfth": "12th", "thirteenth": "13th",
}  # fmt: skip
_NUMBER_WORDS = {word: str(value) for value, word in enumerate(_CARDINALS)} | _ORDINALS
_SAME = _NUMBER_WORDS | {"versus": "vs"}

LONGEST = 300
"""Characters; a longer text is no title, and is compared only as a whole."""

_MOST_NAMES = 8


class Written(NamedTuple):
    """A title as written: its names, the main one first, and its year where one is given."""

    names: tuple[str, ...]
    year: int | None


def exact_key(title: str) -> str:
    """The key under which two spellings count as the same words: case, quotes and spaces aside."""
    if title.isascii():
        return " ".join(title.replace("`", "'").lower().split())
    text = unicodedata.normalize("NFKC", title) if len(title) <= LONGEST else title
    return " ".join(text.translate(_QUOTES).casefold().split())


def plain_signs(text: str) -> str:
    """A text of any length with the signs that `exact_key` has, its capitals kept."""
    words = (w if len(w) > LONGEST else unicodedata.normalize("NFKC", w) for w in text.split())
    return " ".join(words).translate(_QUOTES)


def usable_year(year: int) -> bool:
    """Whether a work can be of that year."""
    return FIRST_YEAR <= year <= LAST_YEAR


def split_year(text: str) -> tuple[str, int | None]:
    """Take the last bracketed year off: "Heat (1995)", "Heat (1972 film)", "Lost (2004-2010)"."""
    for found in reversed(list(_BRACKET.finditer(text))):
        year = _YEAR_BRACKET.match(found[1].strip())
        if year and usable_year(int(year[1])):
            rest = f"{text[: found.start()].rstrip()} {text[found.end() :].lstrip()}".strip(
                " -*_\t"
            )
            if _WORD.search(rest):
                return rest, int(year[1])
    return text.strip(), None


def split_bare_year(text: str) -> tuple[str, int | None]:
    """Take a year without brackets off the end; the caller knows when it may be one."""
    stripped = text.strip()
    found = _BARE_YEAR.search(stripped) if len(text) <= LONGEST else None
    if found and usable_year(int(found[1])) and _WORD.search(rest := stripped[: found.start()]):
        return rest, int(found[1])
    return text, None


def read_title(text: str) -> Written:
    """Split a written title into its names, at most eight, and its year."""
    text = _UNSEEN.sub("", text)
    text = " ".join(text.split())
    if len(text) > LONGEST:
        return Written((text,), None)
    if "(" not in text and "[" not in text:
        return Written(_unique(_alternatives(text)), None)
    rest, year = split_year(text)
    inner = [c.strip() for c in _BRACKET.findall(rest) if not _DESCRIPTOR.match(c.strip())]
    main = _BRACKET.sub(" ", rest)
    names = _alternatives(main)
    if inner:
        whole = _BRACKET.sub(r" \1 ", rest)
        if not words(main) or _NUMBER.match(main) or any(map(_PART.match, inner)):
            names = [whole]
        else:
            names += [n for content in inner for n in _alternatives(content)] + [whole]
    return Written(_unique(names), year)


def front_article(name: str) -> str:
    """Put a trailing article in front: "Matrix, The" is "The Matrix", "Ours, L'" is "L'Ours"."""
    name = " ".join(name.translate(_QUOTES).split()).strip(" *_-,")
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = name[1:-1].strip()
    found = _TRAILING_ARTICLE.match(name) if "," in name else None
    if not found:
        return name
    article, rest = found["article"], found["rest"]
    return f"{article}{rest}" if article.endswith("'") else f"{article} {rest}"


def words(name: str) -> list[str]:
    """The plain words of a name; empty where it has none."""
    text = name.lower() if name.isascii() else _without_accents(name)
    text = _JOINED.sub("", text).replace("&", " and ").replace("+", " and ").replace("_", " ")
    found = _WORD.findall(_THREE_D.sub("3d", text) if "3" in text else text)
    plain = [_number(word, index, found) for index, word in enumerate(found)]
    return plain if _COUNTERS.isdisjoint(plain) else _count(plain)


def is_number(word: str) -> bool:
    """Whether a word of `words`, or one of several, tells one part of a series from another."""
    return _DIGIT.search(word) is not None


def _unique(names: list[str]) -> tuple[str, ...]:
    if len(names) == 1:
        return (front_article(names[0]),)
    fronted = map(front_article, names[: _MOST_NAMES - 1] + names[-1:])
    unique: dict[str, str] = {}
    for name in fronted:
        unique.setdefault(exact_key(name), name)
    return tuple(unique.values())


def _alternatives(text: str) -> list[str]:
    pieces, low = [text], text.lower()
    if not any(sign in low for sign in _SIGNS):
        return [piece] if (piece := text.strip(" ,;:-")) else []
    for pattern in (_AKA, _OR, _SLASH):
        pieces = [part for piece in pieces for part in pattern.split(piece)]
    return [piece for piece in (_LAST_OR.sub("", p).strip(" ,;:-") for p in pieces) if piece]


def _without_accents(name: str) -> str:
    name = name.translate(_QUOTES)
    if len(name) <= LONGEST:
        name = unicodedata.normalize("NFKD", name)
    text = name.casefold().translate(_LETTERS)
    return "".join(c for c in text if not unicodedata.combining(c))


def _number(word: str, index: int, all_words: list[str]) -> str:
    if word in _SAME:
        return _SAME[word]
    if (
        index
        and word[0] in _ROMAN_VALUE
        and _ROMAN.match(word)
        and (word != "i" or all_words[index - 1] in _COUNTERS)
    ):
        return str(_roman(word))
    return word


def _roman(word: str) -> int:
    values = [_ROMAN_VALUE[c] for c in word]
    return sum(v if v >= max(values[i:]) else -v for i, v in enumerate(values))


def _count(found: list[str]) -> list[str]:
    """Drop "part", "vol." and their like before the number that they announce."""
    return [
        word
        for index, word in enumerate(found)
        if not (
            index and word in _COUNTERS and index + 1 < len(found) and found[index + 1].isdigit()
        )
    ]
