"""Splits a written title into its names, its year and the remarks in brackets after it.

A name is the main title or an alternative, in brackets or after "a.k.a.". Full-width brackets and
digits are read as their ASCII forms, and quotes around a whole name are removed.

The input can be any text. Text that is too long for a title is not split. Most titles are ASCII
without brackets or commas, so a cheap check precedes each pattern.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from convrec.titles.normalize import (
    BRACKET,
    MAX_TITLE_CHARACTERS,
    QUOTES,
    clean_text,
    drop_controls,
    exact_key,
    find_year,
    plain_words,
    whole_years,
)
from convrec.titles.remarks import Remark, read_remark

_AKA = re.compile(r"\s*\ba\.?\s?k\.?\s?a\b\.?:?\s*", re.IGNORECASE)
_OR_ALTERNATIVE = re.compile(r",?\s+or:\s+|,\s+or,?\s+", re.IGNORECASE)
_TRAILING_OR = re.compile(r"\s+or\W*$", re.IGNORECASE)
_SLASH = re.compile(r"\s+/\s+")
_ALTERNATIVE_MARKS = (" or", "/", "aka", "a.k", "a k", "a. k")
_TRAILING_ARTICLE = re.compile(
    r"^(?P<rest>.+),\s+(?P<article>the|an?|la|le|les|l'|el|los|las|il|lo|i|gli|der|die|das|den|det|"
    r"de|het|een|ein|eine|un|une|una|uno|en|et|os?|as)$",
    re.IGNORECASE,
)
_PART = re.compile(
    r"^(?:part|vol|volume|chapter|episode|season|no)\b\.?\s*\S+$|^\W*\d+\W*$", re.IGNORECASE
)
_NUMBER = re.compile(r"^\W*(?:\d{1,2}|[²³])\W*$")


_CJK_BRACKETS = str.maketrans("\u3010\u3011\u3014\u3015\u2997\u2998", "[][][]", "\u2122\u2120")
_PAIRED_QUOTES = {
    '"': '"', "\u300a": "\u300b", "\u3008": "\u3009", "\u300c": "\u300d", "\u300e": "\u300f",
    "\u00ab": "\u00bb", "\u00bb": "\u00ab", "\u2039": "\u203a", "\u201e": '"', "\u201f": '"',
    "\u301d": "\u301e",
}  # fmt: skip
"""Opening quote → closing quote, after `QUOTES`."""

_WIDE_SIGNS = re.compile(
    "[\u3000-\u303f\uff00-\uffef\u2997\u2998\u2122\u2120\u00ab\u00bb\u2039\u203a\u201e\u201f]"
)

_MAX_NAMES, _MAX_QUOTES = 8, 3


class WrittenTitle(NamedTuple):
    """The names of a written title, the main name first, its year if it has one, and its remarks.

    A remark that may be a further name (`Remark.is_name`) is among the names, too.
    """

    names: tuple[str, ...]
    year: int | None
    remarks: tuple[Remark, ...] = ()


def parse_title(text: str) -> WrittenTitle:
    """Split a written title into its names (at most eight), its year and its remarks."""
    text = drop_controls(whole_years(clean_text(text)))
    if len(text) > MAX_TITLE_CHARACTERS:
        return WrittenTitle((text,), None)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_CJK_BRACKETS))
    if "(" not in text and "[" not in text:
        return WrittenTitle(_unique_names(_split_alternatives(text)), None)
    rest, year, words = find_year(text)
    if not words and "(" not in rest and "[" not in rest:
        return WrittenTitle(_unique_names(_split_alternatives(rest)), year)
    title = _parse_brackets(rest)
    if words:
        title = title._replace(remarks=(*title.remarks, read_remark(words)))
    return title._replace(year=year) if year else _take_year(title)


def is_plain_title(text: str) -> bool:
    """Whether a title has no remarks, and no signs that need cleaning or normalization."""
    is_clean = whole_years(clean_text(text)) == text and not _WIDE_SIGNS.search(text)
    return is_clean and not parse_title(text).remarks


def _parse_brackets(text: str) -> WrittenTitle:
    """The names and remarks of a title whose year is split off."""
    brackets = list(_trailing_brackets(text))
    remarks = [read_remark(content) for content, _, _ in brackets]
    for (_, start, end), remark in zip(brackets, remarks, strict=True):
        if not remark.is_name and plain_words(text[:start]):
            text = f"{text[:start]} {text[end:]}"
    main, inner = BRACKET.sub(" ", text), [content.strip() for content in BRACKET.findall(text)]
    names = _split_alternatives(main)
    if inner:
        whole = BRACKET.sub(r" \1 ", text)
        if not plain_words(main) or _NUMBER.match(main) or any(map(_PART.match, inner)):
            names, remarks = [whole], [remark for remark in remarks if not remark.is_name]
        else:
            names += [n for content in inner for n in _split_alternatives(content)] + [whole]
    names += [name for remark in remarks for name in remark.names(main)]
    return WrittenTitle(_unique_names(names), None, tuple(remarks))


def _trailing_brackets(text: str) -> Iterator[tuple[str, int, int]]:
    """(content, start, end) of the brackets after the title, the last one first."""
    end = len(text)
    for bracket in reversed(list(BRACKET.finditer(text))):
        if text[bracket.end() : end].strip(" ,;-*_"):
            return
        end = bracket.start()
        content = bracket[1].strip()
        if content and not _PART.match(content) and not _AKA.search(content):
            yield content, bracket.start(), bracket.end()


def _take_year(title: WrittenTitle) -> WrittenTitle:
    """The title with the year that a remark has: "Westworld (TV series, 2016)"."""
    for number, remark in enumerate(title.remarks):
        if remark.years and remark.years[0] == remark.years[1]:
            rest = remark._replace(years=None)
            remarks = (*title.remarks[:number], rest, *title.remarks[number + 1 :])
            return WrittenTitle(title.names, remark.years[0], remarks)
    return title


def move_article_to_front(name: str) -> str:
    """Move a trailing article: "Matrix, The" becomes "The Matrix", "Ours, L'" becomes "L'Ours"."""
    name = " ".join(name.translate(QUOTES).split()).strip(" *_-,")
    for _ in range(_MAX_QUOTES):
        if len(name) > 1 and name[-1] == _PAIRED_QUOTES.get(name[0]):
            name = name[1:-1].strip()
    match = _TRAILING_ARTICLE.match(name) if "," in name else None
    if not match:
        return name
    article, rest = match["article"], match["rest"]
    return f"{article}{rest}" if article.endswith("'") else f"{article} {rest}"


def _unique_names(names: list[str]) -> tuple[str, ...]:
    if len(names) == 1:
        return (move_article_to_front(names[0]),)
    unique: dict[str, str] = {}
    for name in map(move_article_to_front, names[: _MAX_NAMES - 1] + names[-1:]):
        unique.setdefault(exact_key(name), name)
    return tuple(unique.values())


def _split_alternatives(text: str) -> list[str]:
    pieces, low = [text], text.lower()
    if not any(sign in low for sign in _ALTERNATIVE_MARKS):
        return [piece] if (piece := text.strip(" ,;:-")) else []
    for pattern in (_AKA, _OR_ALTERNATIVE, _SLASH):
        pieces = [part for piece in pieces for part in pattern.split(piece)]
    return [piece for piece in (_TRAILING_OR.sub("", p).strip(" ,;:-") for p in pieces) if piece]
