"""Normalization of titles as people write them, so that they can be compared.

`exact_key` is the strict comparison for rewards and metrics: it ignores case, quote style and
spaces. `clean_text` removes what web pages leave in titles, wherever titles are read. The rest
serves linking: a name becomes plain words, without accents and punctuation, with "&", Roman
numerals, number words and "Part"/"Vol." in one form.

The input can be any text. Text that is too long for a title is not normalized, because
`unicodedata.normalize` takes quadratic time on long runs of accents.
"""

from __future__ import annotations

import html
import re
import unicodedata
from html.entities import html5
from itertools import pairwise
from urllib.parse import unquote

FIRST_YEAR, LAST_YEAR = 1400, 2035
"""Years outside this range are treated as errors."""

ARTICLES = frozenset({"a", "an", "the"})

QUOTES = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "`": "'", "“": '"', "”": '"', "–": "-", "—": "-"}
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]+")
_JOINERS = re.compile("[\u200c\u200d]+")
_INVISIBLE = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e01ef]+"
)
_FIRST_JOINED = "\u0590"
"""Scripts from here on, and emoji, may be spelled with joiners; Latin, Greek and Cyrillic not."""

_ENTITY = re.compile(r"&(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_PERCENT_WITHOUT_CODE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CODE_THAT_NO_ENCODER_WRITES = re.compile(  # control characters, digits, letters
    r"%(?:[01]|3[0-9]|4[1-9A-F]|5[0-9A]|6[1-9A-F]|7[0-9AF])", re.I
)
_MAX_ESCAPES = 3
_DECIMAL_YEAR = re.compile(r"\((\d{4})\.0+\)")
_WIDE_YEAR = re.compile(r"\s*[\uff08\uff3b\u3010\u3014](\d{4})[\uff09\uff3d\u3011\u3015]\s*$")
_CJK_QUOTED = re.compile(
    r"^\s*[\u300a\u3008\u300c\u300e]([^\u3008-\u300f]+)[\u300b\u3009\u300d\u300f](\s*\(\d{4}\))?\s*$"
)
BRACKET = re.compile(r"[(\[]([^()\[\]]*)[)\]]")
"""A bracket without brackets inside; its group is the content."""

_YEAR_BRACKET = re.compile(
    r"^(\d{4})(?:\s*[-–—/]\s*(?:\d{2,4})?)?(?:\s+([a-z][\w .-]*))?$", re.IGNORECASE
)
_BARE_YEAR = re.compile(r"[\s,–—-]+(\d{4})$")
_FOLDED_LETTERS = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "ß": "ss", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
)
_DROPPED = re.compile(r"['`.*’]|(?<=\d),(?=\d{3})")
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
_SYNONYMS = _NUMBER_WORDS | {"versus": "vs"}

MAX_TITLE_CHARACTERS = 300
"""Longer text is not a title and is compared only in full."""


def clean_text(text: str) -> str:
    """The text without invisible characters, and with escapes of web pages decoded.

    HTML entities need their semicolon ("AT&T" and "R&Bcopy" stay), and URL escapes are decoded only
    if each "%" begins one ("100% Wolf" stays). Text that was escaped twice is decoded twice. Other
    text is returned as it is. Control characters stay, because the caller may refuse them.
    """
    if "&" in text or "%" in text:
        text = _decode_escapes(text)
    if text.isascii():
        return text
    return _JOINERS.sub(_needed_joiner, _INVISIBLE.sub("", text))


def clean_title(title: str) -> str:
    """`clean_text`, with a final full-width year as " (1995)" and without CJK quotes around all.

    "(1995.0)", as programs write years that are stored as decimals, becomes "(1995)".
    """
    title = whole_years(clean_text(title))
    if title.isascii():
        return title
    title = _WIDE_YEAR.sub(lambda match: f" ({int(match[1])})", title)
    quoted = _CJK_QUOTED.match(title)
    return f"{quoted[1]}{quoted[2] or ''}" if quoted else title


def whole_years(text: str) -> str:
    """The text with "(1995.0)" as "(1995)"."""
    return _DECIMAL_YEAR.sub(r"(\1)", text) if ".0" in text else text


def exact_key(title: str) -> str:
    """The title without differences in case, quote style and spaces, as a key for comparison."""
    if "&" in title or "%" in title:
        title = _decode_escapes(title)
    if title.isascii():
        return " ".join(title.replace("`", "'").lower().split())
    title = _JOINERS.sub("", _INVISIBLE.sub("", title))
    text = unicodedata.normalize("NFKC", title) if len(title) <= MAX_TITLE_CHARACTERS else title
    return " ".join(text.translate(QUOTES).casefold().split())


def drop_controls(text: str) -> str:
    """The text without control characters and joiners; line breaks and tabs become spaces."""
    if not text.isprintable():
        text = _JOINERS.sub("", _CONTROL.sub("", text))
    return " ".join(text.split())


def normalize_characters(text: str) -> str:
    """Text of any length with the quotes, dashes and spaces of `exact_key`; case is unchanged."""
    words = (
        word if len(word) > MAX_TITLE_CHARACTERS else unicodedata.normalize("NFKC", word)
        for word in _JOINERS.sub("", clean_text(text)).split()
    )
    return " ".join(words).translate(QUOTES)


def is_plausible_year(year: int) -> bool:
    """Whether FIRST_YEAR <= year <= LAST_YEAR."""
    return FIRST_YEAR <= year <= LAST_YEAR


def split_year(text: str) -> tuple[str, int | None]:
    """Split off the last bracketed year: "Heat (1995)", "Heat (1972 film)", "Lost (2004-2010)"."""
    return find_year(text)[:2]


def find_year(text: str) -> tuple[str, int | None, str]:
    """As `split_year`, and the words after the year in its bracket ("film")."""
    for bracket in reversed(list(BRACKET.finditer(text))):
        year = _YEAR_BRACKET.match(bracket[1].strip())
        if year and is_plausible_year(int(year[1])):
            before, after = text[: bracket.start()].rstrip(), text[bracket.end() :].lstrip()
            rest = f"{before} {after}".strip(" -*_\t")
            if _WORD.search(rest):
                return rest, int(year[1]), year[2] or ""
    return text.strip(), None, ""


def split_bare_year(text: str) -> tuple[str, int | None]:
    """Split off a final year without brackets; the caller decides whether it can be a year."""
    stripped = text.strip()
    match = _BARE_YEAR.search(stripped) if len(text) <= MAX_TITLE_CHARACTERS else None
    if match and is_plausible_year(int(match[1])):
        rest = stripped[: match.start()]
        if _WORD.search(rest):
            return rest, int(match[1])
    return text, None


def plain_words(name: str) -> list[str]:
    """The normalized words of a name; may be empty."""
    text = name.lower() if name.isascii() else _without_accents(name)
    text = _DROPPED.sub("", text).replace("&", " and ").replace("+", " and ").replace("_", " ")
    found = _WORD.findall(_THREE_D.sub("3d", text) if "3" in text else text)
    words = [_normalize_word(word, index, found) for index, word in enumerate(found)]
    return words if _COUNTERS.isdisjoint(words) else _drop_counters(words)


def has_digit(text: str) -> bool:
    """Whether a text has a digit, which can distinguish one part of a series from another."""
    return _DIGIT.search(text) is not None


def _needed_joiner(match: re.Match[str]) -> str:
    """The first joiner between two characters that may be joined, else nothing."""
    text, start, end = match.string, match.start(), match.end()
    is_between = start > 0 and end < len(text)
    is_needed = is_between and min(text[start - 1], text[end]) >= _FIRST_JOINED
    return match[0][0] if is_needed else ""


def _decode_escapes(text: str) -> str:
    for _ in range(_MAX_ESCAPES):
        before = text
        if "&" in text and ";" in text:
            text = _ENTITY.sub(_decode_entity, text)
        if "%" in text:
            text = _decode_url(text)
        if text == before:
            break
    return text


def _decode_entity(match: re.Match[str]) -> str:
    name = match[1]
    is_known = name[0] == "#" or f"{name};" in html5
    return html.unescape(match[0]) if is_known else match[0]


def _decode_url(text: str) -> str:
    """The text with URL escapes decoded, unless a "%" is a percent sign or the bytes no UTF-8."""
    if _PERCENT_WITHOUT_CODE.search(text) or _CODE_THAT_NO_ENCODER_WRITES.search(text):
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def _without_accents(name: str) -> str:
    name = name.translate(QUOTES)
    if len(name) <= MAX_TITLE_CHARACTERS:
        name = unicodedata.normalize("NFKD", name)
    text = name.casefold().translate(_FOLDED_LETTERS)
    return "".join(c for c in text if not unicodedata.combining(c))


def _normalize_word(word: str, index: int, all_words: list[str]) -> str:
    is_roman = index and word[0] in _ROMAN_VALUE and _ROMAN.match(word)
    if word in _SYNONYMS or not is_roman or (word == "i" and all_words[index - 1] not in _COUNTERS):
        return _SYNONYMS.get(word, word)
    values = [_ROMAN_VALUE[c] for c in word]
    return str(sum(v if v >= max(values[i:]) else -v for i, v in enumerate(values)))


def _drop_counters(words: list[str]) -> list[str]:
    """Drop "part", "vol." and the like before a number, except as the first word."""
    rest = pairwise([*words[1:], ""])
    return words[:1] + [w for w, after in rest if w not in _COUNTERS or not after.isdigit()]
