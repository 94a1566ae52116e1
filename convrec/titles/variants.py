"""The ways to write a name, each with a cost: the lower, the closer to the name as written.

The linker compares two names by the variants that they share, so a lookup never scans the catalog.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from convrec.titles.normalize import (
    ARTICLES,
    MAX_TITLE_CHARACTERS,
    exact_key,
    has_digit,
    plain_words,
)

MatchMethod = Literal["exact", "alias", "normalized", "subtitle", "fuzzy"]

_ALTERNATIVE_COST, _PARTIAL_COST = 1, 4
_TAILS = (("the", "movie"), ("the", "film"), ("movie",), ("3d",), ("1",))
_LAST_WORDS = frozenset(tail[-1] for tail in _TAILS)
_SHORT_TAIL = 3
_EPISODE_NUMBER = re.compile(
    r"(?:: | - )(?:episode|part|chapter|volume|vol\.?) "
    r"(?:\d{1,2}|[ivx]{1,5}|one|two|three|four|five|six|seven|eight|nine|ten)(?:: | - )(?=.*\w)",
    re.IGNORECASE,
)


class TitleVariant(NamedTuple):
    """One way to write a name.

    `size` is the number of words without the leading article; a number adds one.
    """

    key: str
    cost: int
    method: MatchMethod
    size: int
    article: str


def title_variants(names: Iterable[str], *, is_query: bool) -> tuple[list[TitleVariant], list[str]]:
    """All variants of the names of a title, and the names as plain words for spelling comparison.

    The first name is the title itself. `is_query` marks a title to find, not a catalog title.
    """
    variants: list[TitleVariant] = []
    plain_names: list[str] = []
    for number, name in enumerate(names):
        extra = _ALTERNATIVE_COST if number else 0
        method: MatchMethod = "alias" if number else "normalized"
        exact = f"={exact_key(name)}"
        words = plain_words(name) if len(name) <= MAX_TITLE_CHARACTERS else []
        bare = without_article(words)
        text = " ".join(bare)
        size = len(bare) + (len(bare) > 1 and has_digit(text))
        article = words[0] if len(bare) < len(words) else ""
        variants.append(TitleVariant(exact, extra, method if number else "exact", size, article))
        if not words:
            continue
        variants.append(TitleVariant("".join(words), extra + 1, method, size, article))
        if article:
            variants.append(TitleVariant("".join(bare), extra + 2, method, size, article))
        if key := _key_without_episode(name):
            variants.append(TitleVariant(key, extra + 2, method, size, article))
        for part in _partial_names(name, bare, is_query):
            key, cost = "".join(part), extra + _PARTIAL_COST
            variants.append(TitleVariant(key, cost, "subtitle", size, article))
        plain_names.append(text)
    return variants, plain_names


def differs_by_article(query: TitleVariant, item: TitleVariant) -> bool:
    """Whether the names differ in their article and are too short for that to be ignored.

    Without a year "Maze Runner" may mean "The Maze Runner", but "The Suicide Squad" is not "Suicide
    Squad", and a title of one word keeps its article. A number counts as an extra word.
    """
    return query.article != item.article and query.size < (3 if query.article else 2)


def without_article(words: list[str]) -> list[str]:
    """The words without a leading article, unless the article is the only word."""
    return words[1:] if len(words) > 1 and words[0] in ARTICLES else words


def _key_without_episode(name: str) -> str:
    """The key without an episode number that has its own name after it; empty if there is none."""
    rest = _EPISODE_NUMBER.sub(": ", name, count=1) if ":" in name or " - " in name else name
    return "" if rest == name else "".join(without_article(plain_words(rest)))


def _partial_names(name: str, bare: list[str], is_query: bool) -> Iterator[list[str]]:
    """Parts that may represent the name. A query yields no head alone and no short tail."""
    for mark in (": ", " - "):
        if mark not in name:
            continue
        head, _, tail = name.partition(mark)
        first, rest = without_article(plain_words(head)), without_article(plain_words(tail))
        if first and not is_query and not has_digit(" ".join(rest)):
            yield first
        strict = is_query and not _is_abbreviation(head, plain_words(tail))
        if len(rest) > (_SHORT_TAIL if strict else 1):
            yield rest
    for ending in _TAILS if bare[-1] in _LAST_WORDS else ():
        if len(bare) > len(ending) and tuple(bare[-len(ending) :]) == ending:
            yield bare[: -len(ending)]


def _is_abbreviation(head: str, tail: list[str]) -> bool:
    """Whether the head abbreviates the tail, as in "AVP: Alien vs. Predator"."""
    return "".join(plain_words(head)) == "".join(word[0] for word in tail)
