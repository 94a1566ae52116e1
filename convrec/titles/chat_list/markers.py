"""Numbers and bullets at the beginning of a line.

Some signs are always a marker ("1. ", "• "). Others may begin a title ("(500) Days of Summer",
"300: Rise of an Empire", "12 Angry Men"); they are markers if the lines of a text count up.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple
from unicodedata import numeric

from convrec.titles.chat_list.text import fold

_UNSEEN = "\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
_LEAD = re.compile(rf"[\s{_UNSEEN}]*(?:>\s?)*[{_UNSEEN}]*(?P<heading>#{{1,6}}\s+)?")
_PICTURES = re.compile(
    r"[\u2600-\u26ff\u2700-\u2712\u2715-\u2726\U0001f000-\U0001faff\ufe0f\u200d]+\s*"
)
_BULLET = re.compile(
    r"(?:[-–—]{1,3}|[*+~·o»])\s+|\\item\s+|[•‣⁃∙●○◦▪▫■□◆◇♦►▶▸➤➢➔→⇒✓✔✅☑★☆✦\uf0b7]\s*"
)
_CHECKBOX = re.compile(r"\[[ xX✓]\]\s+|[☐☑]\s*")
_TIGHT_BULLET = re.compile(r"[-–—*+](?=[^\s*-])")

_STRONG = re.compile(
    r"[*_]{0,3}(?P<n>\d{1,3})(?:\s?(?:\\?[.)]){1,2}[*_]{0,3}:?|[*_]{1,3}[.):]{1,2})(?:\s+|(?=[*_]))"
)
_IDEOGRAPHIC = re.compile(rf"[\s{_UNSEEN}]*(?:>\s?)*[\d０-９]{{1,3}}\s?[、．）。]\s*")
_GLYPH = re.compile(
    r"[*_]{0,3}(?:(?P<glyph>[①-⒛⓪❶-➓㈠-㈩㊀-㊉㉑-㉟])|(?P<n>\d{1,3})\ufe0f?\u20e3|(?P<ten>\U0001f51f))"
    r"[*_]{0,3}\s*(?:[.):、-]\s+)?"
)
_WEAK = {
    "brackets": r"[(\[]\s?(?P<n>\d{1,3})\s?[)\]]\s*[.:–-]?\s*",
    "of": r"[(\[]?(?P<n>\d{1,3})\s?(?:/|of|von|de|sur)\s?\d{1,3}(?:[)\]]|\s?[.:–-])+\s*",
    "tight": r"(?P<n>\d{1,3})[.)\]〉》>]",
    "colon": r"(?P<n>\d{1,3})\s?:\s*",
    "dash": r"(?P<n>\d{1,3})\s?[-–—]{1,2}\s*",
    "sign": r"(?:#|№|[Nn]o\.?|[Nn]r\.?|[Nn][°º])\s?(?P<n>\d{1,3})(?:\s?[.:)–—-]+\s*|\s+)",
    "word": r"[A-Za-z]{3,20}\s#?(?P<n>\d{1,3})\s?[.:)–—-]+\s*",
    "ordinal": r"(?P<n>\d{1,3})(?:(?:st|nd|rd|th)\s?[.:)–—-]+\s*|[º°ª][.:)–—-]*\s+)",
    "comma": r"(?P<n>\d{1,3})\s?[,;|/]\s*",
    "space": r"(?P<n>\d{1,3})[*_]{0,3}\s+",
    "letter": r"\(?(?P<letter>[A-Za-z])[.)]\s+",
    "roman": r"\(?(?P<roman>[IVXLivxl]{1,7})[.)]\s+",
    "chinese": r"第?(?P<chinese>[一二三四五六七八九十]{1,3})(?:[、.):部]\s*)",
}
_WEAK_PATTERNS = {
    name: re.compile(rf"[*_]{{0,3}}{rule}[*_]{{0,3}}") for name, rule in _WEAK.items()
}
_NEEDS_THREE = ("space",)
_WEAK_START = re.compile(
    r"[*_]{0,3}(?:[\d(\[#№一二三四五六七八九十第]|[A-Za-z]{1,20}[.)°º]|\w{3,20}\s#?\d)"
)
_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50}
_CHINESE = "一二三四五六七八九"


class MarkedLine(NamedTuple):
    """A line of a text, and what stands before its content.

    `number` is None without one; `start` is where the content begins in `raw`.
    """

    raw: str
    indent: int
    is_heading: bool
    is_bullet: bool
    number: int | None
    start: int

    @property
    def content(self) -> str:
        """The line without its marker."""
        return self.raw[self.start :]


def mark_lines(lines: Sequence[str]) -> list[MarkedLine]:
    """The markers of the lines of a text."""
    marked = [_strong_marker(line) for line in lines]
    marked = _with_tight_bullets(marked)
    return _with_weak_numbers(marked)


def _strong_marker(raw: str) -> MarkedLine:
    text = fold(raw)
    lead = _LEAD.match(text)
    position = lead.end() if lead else 0
    is_heading = bool(lead and lead["heading"])
    is_bullet = False
    if picture := _PICTURES.match(text, position):
        position = picture.end()
    if bullet := _BULLET.match(text, position):
        position, is_bullet = bullet.end(), True
        if checkbox := _CHECKBOX.match(text, position):
            position = checkbox.end()
    indent = len(raw[: len(raw) - len(raw.lstrip())].expandtabs(4))
    number, position = _strong_number(raw, text, position)
    if number is not None and (picture := _PICTURES.match(text, position)):
        position = picture.end()
    return MarkedLine(raw, indent, is_heading, is_bullet, number, position)


def _strong_number(raw: str, text: str, position: int) -> tuple[int | None, int]:
    if match := _STRONG.match(text, position):
        return int(match["n"]), match.end()
    if not raw.isascii():
        if match := _IDEOGRAPHIC.match(raw):
            return int(re.sub(r"\D", "", fold(match[0]))), match.end()
        if match := _GLYPH.match(text, position):
            return _glyph_value(match), match.end()
    return None, position


def _glyph_value(match: re.Match[str]) -> int:
    if match["glyph"]:
        return int(numeric(match["glyph"]))
    return int(match["n"]) if match["n"] else 10


def _with_tight_bullets(lines: list[MarkedLine]) -> list[MarkedLine]:
    """Read "-Heat" as a bullet if most lines begin so."""
    tight = {
        index: match.end()
        for index, line in enumerate(lines)
        if not line.is_bullet
        and line.number is None
        and (match := _TIGHT_BULLET.match(line.raw, line.start))
        and not (line.raw[line.start] == "*" and line.raw.count("*") % 2 == 0)
    }
    if len(tight) < 2 or 2 * len(tight) < sum(bool(line.raw.strip()) for line in lines):
        return lines
    return [
        line._replace(is_bullet=True, start=tight[index]) if index in tight else line
        for index, line in enumerate(lines)
    ]


def _with_weak_numbers(lines: list[MarkedLine]) -> list[MarkedLine]:
    """Read "1:", "(1)", "#1" and the like as numbers if they count up."""
    found: dict[str, dict[int, tuple[int, int]]] = defaultdict(dict)
    for index, line in enumerate(lines):
        if line.number is None and (text := fold(line.raw)):
            if not _WEAK_START.match(text, line.start):
                continue
            for name, pattern in _WEAK_PATTERNS.items():
                if match := pattern.match(text, line.start):
                    found[name][index] = (_value(match), match.end())
    result = list(lines)
    for name in _WEAK_PATTERNS:
        of_name = found.get(name, {})
        if not _counts_up([number for number, _ in of_name.values()], name):
            continue
        for index, (number, end) in of_name.items():
            if result[index].number is None:
                result[index] = result[index]._replace(number=number, start=end)
    return result


def _counts_up(numbers: Sequence[int], name: str) -> bool:
    least = 3 if name in _NEEDS_THREE else 2
    if len(numbers) < least:
        return False
    steps = list(pairwise(numbers))
    good = sum(b == a + 1 or b == 1 for a, b in steps)
    return good >= 0.8 * len(steps) and (numbers[0] in (0, 1) or len(numbers) >= 3)


def _value(match: re.Match[str]) -> int:
    kinds = match.groupdict()
    if kinds.get("n"):
        return int(kinds["n"])
    if letter := kinds.get("letter"):
        return ord(letter.lower()) - ord("a") + 1
    if roman := kinds.get("roman"):
        values = [_ROMAN[sign] for sign in roman.lower()]
        return sum(v if v >= max(values[i:]) else -v for i, v in enumerate(values))
    tens, _, ones = kinds["chinese"].rpartition("十")
    if "十" not in kinds["chinese"]:
        tens, ones = "", kinds["chinese"]
        return _CHINESE.find(ones[:1]) + 1
    return 10 * (_CHINESE.find(tens[:1]) + 1 if tens else 1) + (
        _CHINESE.find(ones[:1]) + 1 if ones else 0
    )
