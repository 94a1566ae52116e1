"""The title and year at the beginning of an item, whatever follows.

"Heat (1995) – a duel", "**Heat**: why", "“Heat,” 1995", "[Heat](…) (1995)", "Heat, 1995",
"Heat (1995 film)". A year in brackets ends the title. Without one, a closing quotation mark or the
end of emphasis does, then a year after a comma or dash, then a dash or colon before an explanation.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from convrec.titles.chat_list.remarks import NAME_LABEL, is_label, is_reason, is_remark
from convrec.titles.chat_list.text import has_words, without_emphasis, without_markup
from convrec.titles.normalize import is_plausible_year
from convrec.titles.title_year import TitleYear

_BRACKET = re.compile(r"[(\[{]([^()\[\]{}]{1,80})[)\]}]")
_YEAR_INSIDE = re.compile(
    r"(?P<before>(?:(?:[^\d].{0,60}?)?[\s,.:;/·'’~≈-]|(?:\d{1,2}[./-]){2})?)"
    r"(?P<year>(?:1[4-9]|20)\d\d)(?![\ds])(?:\?|\s?(?:年|년|г\b).{0,40})?"
    r"(?:\s?[-–—/]\s?(?:\d{2,4}|present|ongoing|now)?)?(?P<after>(?:[\s,;:/|·–—-].*)?)$",
    re.IGNORECASE | re.DOTALL,
)
_NO_YEAR = re.compile(
    r"\s*[(\[]\s*(?:n/?a|n\.\s?d\.|upcoming|unknown|year(?: unknown| n/?a)?|tba|tbd|"
    r"\?{1,4}|-{1,4}|no year|undated)\s*[)\]]",
    re.IGNORECASE,
)
_BARE_YEAR = re.compile(
    r"\s*(?:[,;]\s?|\s[-–—|/·]\s?|\t)\s*(?:(?:released?(?: year| in)?|year)\s?:?\s*)?"
    r"((?:1[89]|20)\d\d)(?=\s*$|\s*[,;:.|(–—-])",
    re.IGNORECASE,
)
_CREDIT = re.compile(
    r"\b(?:[Dd]irected by|[Dd]ir\.|[Bb]y)(?: [^\W\d_a-zß-ÿ][\w.'’-]*){1,4}[\s*_]*$"
)
"""Who made a film, before its year."""

_DESCRIPTION = re.compile(r"An?(?:[ ,-]{1,2}[a-z][\w'’]*){3}")
"""The start of "A tense crime film"; a title has capitals."""

_TAIL_YEAR = re.compile(r"[\s,;:|.–—-]*((?:1[89]|20)\d\d)(?!\w)")
_SEPARATOR = re.compile(
    r"\s+(?:[-–—]{1,3}|[|/]{1,2}|=>|->|→)\s+|:\s+|(?<=\w)—(?=\w)|\t+|\s+-(?=[A-Z])"
)
_BOLD_START = re.compile(r"(\*{1,3}|_{1,3}|`)(?=[^\s*_`])([^*_`]*?[^\s*_`])\1(?![\w*_])")
_VERSION = re.compile(
    r"\b(?:tv|series|mini-?series|show|season|episode|short|documentary|anime|animated|remake|"
    r"original|version|cut|edition|musical|play|novel|book|comic|special|ova|us|uk)\b",
    re.IGNORECASE,
)
_QUOTES = {
    '"': '"', "“": "”\"", "”": "”", "„": "“”\"", "«": "»", "»": "«", "‹": "›", "「": "」",
    "『": "』", "《": "》", "〈": "〉", "‘": "’", "'": "'’", "`": "`'", "＂": "＂",
}  # fmt: skip
_AFTER_QUOTE = re.compile(r"\s*(?:$|[-–—:|,.;!?(\[{/]|[a-z\d]|[^\x00-\x7f])")
_EDGES = " \t,;:|/–—-"


class Reading(NamedTuple):
    """What a line says: its item, and whether the line has more to it.

    `is_exact`: the line is the item and its year alone. `item` is None if there is no title.
    """

    item: TitleYear | None
    is_exact: bool = False
    is_label: bool = False
    is_remark: bool = False
    is_named: bool = False
    is_emphasized: bool = False

    @property
    def is_dated(self) -> bool:
        """Whether the line has a title and a year."""
        return self.item is not None and self.item.year is not None


@lru_cache(maxsize=1 << 16)  # popular items repeat the same lines
def read_item(line: str) -> Reading:
    """Read a line without its marker."""
    text = without_markup(line)
    if not text:
        return Reading(None)
    named = NAME_LABEL.match(text)
    if named and named.end() < len(text):
        text = text[named.end() :]
    plain = without_emphasis(text)
    reading = _read_bracketed_year(plain) or _read_undated(text, plain)
    emphasized = _BOLD_START.fullmatch(text.rstrip(":"))
    is_label_line = named is None and is_label(text) and not reading.is_exact
    return reading._replace(
        is_label=is_label_line,
        is_named=named is not None,
        is_emphasized=emphasized is not None and len(emphasized[1]) > 1,
    )


def clean_title(text: str) -> str:
    """A title without quotation marks around it and without signs at its edges."""
    title = _NO_YEAR.sub("", text).strip(_EDGES)
    inner = _unquote(title)
    if inner is not None and _AFTER_QUOTE.match(inner[1]) and not has_words(inner[1]):
        title = inner[0].strip(_EDGES)
    elif title[:1] in _QUOTES and title[:1] not in "'`" and inner is None:
        title = title[1:]
    elif title[-1:] in '"”“»›」』》〉' and not any(sign in title[:-1] for sign in '"“„«‹「『《〈'):
        title = title[:-1]
    return " ".join(title.strip(_EDGES).split())


def _read_bracketed_year(text: str) -> Reading | None:
    for bracket in _BRACKET.finditer(text):
        inside = _YEAR_INSIDE.match(bracket[1].strip())
        if inside is None:
            continue
        year, before, after = int(inside["year"]), text[: bracket.start()], text[bracket.end() :]
        if not has_words(before):
            if not before.strip(_EDGES + "*_\"'“”«»「『《") and has_words(after):
                return _read_leading_year(year, after)
            if not before.strip(_EDGES + '*_"'):
                continue
        cut = _cut_reason(before.strip())
        if cut is not None:
            return Reading(TitleYear(cut, year if _CREDIT.search(before) else None))
        title = clean_title(before)
        if not title:
            return None
        title += _version(f"{inside['before']} {inside['after']}")
        if following := _BRACKET.match(after.lstrip()):
            title += _version(following[1])
        rest = after.strip(_EDGES + ".\"'”»」』》*_")
        is_exact = not rest and not is_label(before)
        return Reading(TitleYear(title, year), is_exact, is_remark=is_remark(before.strip()))
    return None


def _version(note: str) -> str:
    """ " (remake)" for a note that tells versions of a title apart; empty for any other note."""
    return f" ({' '.join(note.strip(_EDGES).split())})" if _VERSION.search(note) else ""


def _read_leading_year(year: int, after: str) -> Reading:
    rest = after.strip(_EDGES)
    title = _quoted_start(rest) or (_cut_reason(rest) or clean_title(rest),)
    return Reading(TitleYear(title[0], year) if title[0] else None, is_exact=True)


def _read_undated(text: str, plain: str) -> Reading:
    start = _quoted_start(plain) or _emphasized_start(text)
    if start is not None:
        title, tail = start
        tail_year = _TAIL_YEAR.match(without_emphasis(tail))
        year = int(tail_year[1]) if tail_year and is_plausible_year(int(tail_year[1])) else None
        return Reading(TitleYear(title, year) if title else None)
    bare = _BARE_YEAR.search(plain)
    if bare and is_plausible_year(int(bare[1])) and has_words(plain[: bare.start()]):
        before = plain[: bare.start()]
        title = clean_title(before)
        is_exact = not has_words(plain[bare.end() :])
        remark = is_remark(before)
        return Reading(
            TitleYear(title, int(bare[1])) if title else None, is_exact, is_remark=remark
        )
    remark = is_remark(plain)
    title = _cut_reason(plain) or clean_title(plain)
    has_title = bool(title) and (has_words(title) or any(sign in "?!$" for sign in title))
    return Reading(TitleYear(title, None) if has_title else None, is_remark=remark)


def _cut_reason(text: str) -> str | None:
    """The title before an explanation; None if there is no explanation."""
    for separator in _SEPARATOR.finditer(text):
        head, tail = text[: separator.start()], text[separator.end() :]
        after_colon = separator[0][0] == ":"
        is_description = _DESCRIPTION.match(tail) or is_reason(tail, head, after_colon=after_colon)
        if has_words(head) and is_description:
            return clean_title(head)
    return None


def _quoted_start(text: str) -> tuple[str, str] | None:
    """(title, rest) of a text that begins with a title in quotation marks."""
    inner = _unquote(text)
    if inner is None or not has_words(inner[0]) or not _AFTER_QUOTE.match(inner[1]):
        return None
    return clean_title(inner[0]), inner[1]


def _emphasized_start(text: str) -> tuple[str, str] | None:
    """(title, rest) of a text that begins with an emphasized title."""
    match = _BOLD_START.match(text)
    if match is None or not has_words(match[2]):
        return None
    rest = text[match.end() :]
    if match[1] in ("*", "_") and rest[:1] == " " and rest[1:2].isupper():
        return None
    if bare := _BARE_YEAR.search(match[2]):
        return clean_title(match[2][: bare.start()]), bare[1]
    return _cut_reason(match[2]) or clean_title(match[2]), rest


def _unquote(text: str) -> tuple[str, str] | None:
    """(inside, rest) of a text that begins with a quotation mark that is closed."""
    closing = _QUOTES.get(text[:1])
    if closing is None:
        return None
    for position in range(1, len(text)):
        if text[position] in closing and not text[position + 1 : position + 2].isalnum():
            return text[1:position], text[position + 1 :]
    return None
