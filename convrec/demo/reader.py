"""What the simulated models understand of a post: works, and a wish with its refusals.

Words for genres, moods, eras and people are sequences of words, and so are titles; of several that
begin at a word, the longest counts. A one-word title counts only if it is capitalized. A word is
refused if a marker such as "no" or "tired of" precedes it in its part of the sentence.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple

from convrec.demo.wish import EVER, Refusal, Wish, Years
from convrec.demo.world import Work, World
from convrec.titles.normalize import exact_key

_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[.,;:!?\n]")
_WORK, _GENRE, _MOOD, _ERA, _PERSON = "work", "genre", "mood", "era", "person"
_MARKER, _NEWER, _OLDER, _BEFORE, _AFTER = "marker", "newer", "older", "before", "after"
_BOUNDS = {_BEFORE: ("before", "older than"), _AFTER: ("after", "newer than", "since")}


class Phrase(NamedTuple):
    """A phrase of a post: what kind of thing it names, and which."""

    kind: str
    value: Work | str | Years


@dataclass(frozen=True)
class Reading:
    """The works that a post names, in order, and what it states of the wish."""

    works: tuple[Work, ...]
    stated: Wish

    def guesses(self) -> list[Wish]:
        """The wishes that the post may mean, equally likely.

        Genres that are not stated are two of those that the named works share.
        """
        if self.stated.genres or not self.works:
            return [self.stated]
        shared = sorted(frozenset.intersection(*(work.genres for work in self.works)))
        shared = shared or sorted(self.works[0].genres)
        pairs = combinations(shared, min(2, len(shared)))
        return [replace(self.stated, genres=frozenset(pair)) for pair in pairs]


def read_post(text: str, world: World) -> Reading:
    """The works, the wish and the refusals of a post."""
    works: list[Work] = []
    wanted: dict[str, list[Any]] = defaultdict(list)
    refused: dict[str, set[Any]] = defaultdict(set)
    is_refused, relative = False, ""
    for phrase in _phrases_of(text, world):
        if phrase.kind == _MARKER:
            is_refused = phrase.value == "on"
        elif isinstance(phrase.value, Work):
            works += [phrase.value] if phrase.value not in works else []
        elif phrase.kind in (_NEWER, _OLDER):
            relative = phrase.kind
        elif is_refused:
            refused[phrase.kind].add(phrase.value)
        else:
            wanted[phrase.kind].append(phrase.value)
    years = wanted[_ERA][0] if wanted[_ERA] else EVER
    if relative and works:
        years = (works[0].year + 1, EVER[1]) if relative == _NEWER else (EVER[0], works[0].year - 1)
    return Reading(
        tuple(works),
        Wish(
            genres=frozenset(wanted[_GENRE]),
            years=years,
            mood=next(iter(wanted[_MOOD]), ""),
            person=next(iter(wanted[_PERSON]), ""),
            refused=Refusal(*(frozenset(refused[k]) for k in (_GENRE, _MOOD, _PERSON, _ERA))),
        ),
    )


def find_work(title: str, year: int | None, world: World) -> Work | None:
    """The work of a world with this title, the one nearest in year if there are several."""
    works = _works_by_title(world).get(exact_key(title), ())
    return min(works, key=lambda work: abs(work.year - (year or work.year)), default=None)


def _phrases_of(text: str, world: World) -> Iterator[Phrase]:
    """The phrases of a post in order; a marker is "off" at the end of its part of a sentence."""
    tokens = _TOKEN.findall(text)
    keys = [exact_key(token) or token for token in tokens]
    position = 0
    while position < len(tokens):
        length, phrase = _longest_phrase(world, tokens, keys, position)
        if phrase is None:
            if not tokens[position][0].isalnum() or keys[position] == "but":
                yield Phrase(_MARKER, "off")
        elif phrase.kind in _BOUNDS:
            after = keys[position + length : position + length + 1]
            if after and re.fullmatch(r"[0-9]{4}", after[0]):
                year = int(after[0])
                years = (EVER[0], year - 1) if phrase.kind == _BEFORE else (year + 1, EVER[1])
                yield Phrase(_ERA, years)
                length += 1
        else:
            yield phrase
            if isinstance(phrase.value, Work):
                length += _author_length(phrase.value, keys, position + length)
        position += length


def _author_length(work: Work, keys: list[str], position: int) -> int:
    """The number of words that name the author after a title: "by Jane Austen"."""
    for name in work.people:
        words = ["by", *map(exact_key, _TOKEN.findall(name))]
        if keys[position : position + len(words)] == words:
            return len(words)
    return 0


def _longest_phrase(
    world: World, tokens: list[str], keys: list[str], position: int
) -> tuple[int, Phrase | None]:
    """(number of words, at least one, of the phrase at a position; the phrase)."""
    for words, phrase in _phrases(world).get(keys[position], ()):
        length = len(words)
        if tuple(keys[position : position + length]) != words:
            continue
        is_title = phrase.kind == _WORK
        if is_title and length == 1 and tokens[position][0].islower():
            continue
        return length, phrase
    return 1, None


@cache
def _phrases(world: World) -> dict[str, list[tuple[tuple[str, ...], Phrase]]]:
    """First word → (words, phrase), longest first."""
    found: dict[str, list[tuple[tuple[str, ...], Phrase]]] = defaultdict(list)

    def add(text: str, kind: str, value: Work | str | Years) -> None:
        words = tuple(exact_key(word) or word for word in _TOKEN.findall(text))
        found[words[0]].append((words, Phrase(kind, value)))

    for works in _works_by_title(world).values():
        for title in (works[0].title, *works[0].aliases):
            add(title, _WORK, works[0])
    for kind, table in ((_GENRE, world.genres), (_MOOD, world.moods)):
        for name, words in table.items():
            for word in words:
                add(word, kind, name)
    for era in world.eras.values():
        for word in era.words:
            add(word, _ERA, (era.first, era.last))
    for name in world.people:
        add(name, _PERSON, name)
    for marker in world.refusals["markers"]:
        add(marker, _MARKER, "on")
    for kind in (_NEWER, _OLDER):
        for word in world.phrases[kind]:
            add(word, kind, "")
    for kind, words in _BOUNDS.items():
        for word in words:
            add(word, kind, "")
    for entries in found.values():
        entries.sort(key=lambda entry: -len(entry[0]))
    return dict(found)


@cache
def _works_by_title(world: World) -> dict[str, list[Work]]:
    """Key of a title or alias → works with it."""
    works: dict[str, list[Work]] = defaultdict(list)
    for work in world.works:
        for title in (work.title, *work.aliases):
            works[exact_key(title)].append(work)
    return dict(works)
