"""Lists written in a sentence: "How about Heat, Ronin, Speed, and Rocky?"."""

from __future__ import annotations

import re

MIN_INLINE_TITLES = 4
"""A single line is read as a list from this many pieces; a title may itself have three."""

MIN_INTRODUCED_TITLES = 2
"""The same after "How about" or "such as"."""

_INTRODUCTION = re.compile(r"^.*(?:\b[a-z]+:|\b[Hh]ow about|\blike|\bsuch as)\s+")
_SHORT_INTRODUCTION = re.compile(
    r"(?:\b[a-z]+:|\b(?:[Hh]ow about|[Tt]ry|[Cc]heck out|such as|recommend(?:ing)?|suggest(?:ing)?|"
    r"(?:films?|movies?|books?|titles?|something|ones) like))\s+(?=[A-Z\d\"“'*_(])"
)
_LEADING_WORD = re.compile(r"^(?:or|and|also|maybe|perhaps|plus|try)\s+(?=[A-Z\d\"“])")
_TITLE_START = re.compile(r"[\"“'*_(«]*[^\W\d_a-zß-ÿ]|[\"“'*_(«]*\d")
_QUOTED = re.compile(r"\"([^\"\n]{1,150}?)[,.]?\"|“([^“”\n]{1,150}?)[,.]?”")
_SEPARATOR = re.compile(r",\s+(?:and\s+)?|(?<=[a-z])[.?!]\s+(?=[A-Z])")
_AND = re.compile(r"\s+(?:and|&|or)\s+(?=[A-Z\"“])")
_AFTER_YEAR = re.compile(
    r"(?<=\d[)\]])[*_\"”]{0,3}\s*(?:[,;/•·|]\s*(?:and\s+|&\s+)?|\s(?:and|&|or)\s)\s*(?=\S)"
)
_NUMBER = re.compile(r"(?:^|(?<=\s))[*_(\[]{0,3}(\d{1,3})[.)\]]{1,2}[*_]{0,3}\s")
_MIN_NUMBERED = 3
_VERB = re.compile(
    r"^.*\b(?:recommend(?:ing)?|suggest(?:ing)?|enjoy|love|like|watch(?:ing)?|try|see|consider|"
    r"check out|check)\s+(?=[^\w\s]{0,4}[^\W_a-zß-ÿ])"
)
"""An introduction, up to the verb before a title: "I would suggest watching Heat"."""

_ABOUT_THE_USER = re.compile(
    r"\b(?:if|since|as|when|because|did|do|does|not|have|what|why)\b|n['’]t\b", re.IGNORECASE
)
"""In an introduction to a film that is not recommended: "I don't recommend Heat"."""

_DATED = re.compile(r"\((?:1[89]|20)\d\d\)")
_HEADING = re.compile(r"^[^(:]{0,60}:\s+")


def split_sentence(text: str) -> list[str]:
    """The titles of a list written in one or two sentences; empty for any other text."""
    pieces = [] if "\n" in text else _SEPARATOR.split(text)
    if len(pieces) < MIN_INLINE_TITLES:
        return []
    first = next((n for n, piece in enumerate(pieces) if _INTRODUCTION.match(piece)), 0)
    return [_INTRODUCTION.sub("", piece).strip(" .?!") for piece in pieces[first:]]


def _split_capitalized(text: str) -> list[str]:
    """`split_sentence` without pieces that are no titles; empty if the text is rather prose."""
    pieces = [_LEADING_WORD.sub("", piece) for piece in split_sentence(text)]
    allowed = 0.5 if _SHORT_INTRODUCTION.search(text) else 0.25
    if sum(map(_is_prose, pieces)) >= allowed * len(pieces):
        return []
    return [piece for piece in pieces if _TITLE_START.match(piece) and not _is_prose(piece)]


def _split_quoted(text: str) -> list[str]:
    """The titles of a sentence that has at least three in quotation marks."""
    titles = [match[1] or match[2] for match in _QUOTED.finditer(text)]
    return titles if len(titles) >= _MIN_NUMBERED else []


def _split_introduced(text: str) -> list[str]:
    """The titles of a short list with an introduction ("How about Heat, Ronin, and Speed?")."""
    introduction = _SHORT_INTRODUCTION.search(text)
    if introduction is None:
        return []
    listed = text[introduction.end() :].rstrip(" .?!")
    pieces = [part for piece in _SEPARATOR.split(listed) for part in _AND.split(piece)]
    pieces = [_INTRODUCTION.sub("", piece) for piece in pieces]
    titles = [_LEADING_WORD.sub("", piece).strip(" .?!") for piece in pieces]
    enough = len(titles) >= MIN_INTRODUCED_TITLES
    are_titles = all(_TITLE_START.match(title) and not _is_prose(title) for title in titles)
    return titles if enough and are_titles else []


def _is_prose(piece: str) -> bool:
    words = piece.split()
    return len(words) > 2 and sum(word[0].islower() and len(word) > 3 for word in words) >= 2


def _split_dated(line: str) -> list[str]:
    """`split_dated`, unless most titles have no year."""
    pieces, others = split_dated(line), _split_capitalized(line)
    return [] if len(others) > 2 * len(pieces) else pieces


def split_dated(line: str) -> list[str]:
    """The items of a line such as "Action: Heat (1995), Ronin (1998)"; empty for any other line."""
    pieces = _AFTER_YEAR.split(line)
    if len(pieces) < MIN_INTRODUCED_TITLES:
        return []
    pieces[0] = _HEADING.sub("", _after_verb(_INTRODUCTION.sub("", pieces[0])))
    return [piece.strip() for piece in pieces]


def _after_verb(text: str) -> str:
    return _VERB.sub("", text)


def _split_numbered(line: str) -> list[str]:
    """The pieces of `split_numbered` without their numbers."""
    pieces = split_numbered(line)
    return [_NUMBER.sub("", piece) for piece in pieces] if len(pieces) > 1 else []


def _only_title(line: str) -> list[str]:
    """The title and year of a sentence that recommends one film."""
    verb = _VERB.match(line.partition("(")[0])
    if verb is None or not _DATED.search(line) or _ABOUT_THE_USER.search(verb[0]) or "?" in line:
        return []
    return [line[verb.end() :]]


def split_numbered(line: str) -> list[str]:
    """The pieces of a line such as "1. Heat 2. Ronin 3. Speed"; any other line is one piece."""
    starts: list[int] = []
    for match in _NUMBER.finditer(line):
        if int(match[1]) == len(starts) + 1:
            starts.append(match.start())
    if len(starts) < _MIN_NUMBERED:
        return [line]
    ends = [*starts[1:], len(line)]
    pieces = [line[a:b].strip().rstrip(",;") for a, b in zip(starts, ends, strict=True)]
    if any(_NUMBER.sub("", piece)[:1].islower() for piece in pieces):  # numbers in a sentence
        return [line]
    return [line[: starts[0]], *pieces] if line[: starts[0]].strip() else pieces


SPLITS = (
    *(_split_numbered, _split_dated, _split_quoted, _split_introduced, _split_capitalized),
    _only_title,
)
"""The ways to read a sentence as a list, the most certain first."""
