"""What the simulated models understand of a post: the films it names and the tastes it states.

Titles and taste words are word sequences in one dictionary keyed by their first word, so that a
post is read in a single pass. A title of one word counts only where it is capitalised: "her" is a
pronoun, "Her" may be a film.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache

from convrec.catalog.titles import exact_key
from convrec.llm.demo.world import Film, world

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_FILM_WEIGHT = 1.0
_CUE_WEIGHT = 1.5


@dataclass
class Reading:
    """Films named, in order, and the evidence for each taste."""

    films: list[Film] = field(default_factory=list)
    tastes: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def strongest(self) -> str | None:
        """The taste with most evidence, None where there is no evidence at all."""
        return max(self.tastes, key=lambda name: self.tastes[name], default=None)


def read(text: str) -> Reading:
    """Recognise films and taste words in a conversation."""
    words = _WORD.findall(text)
    keys = [exact_key(word) for word in words]
    reading = Reading()
    place = 0
    while place < len(words):
        length, meaning = _longest(words, keys, place)
        if isinstance(meaning, Film):
            if meaning not in reading.films:
                reading.films.append(meaning)
            reading.tastes[meaning.taste] += _FILM_WEIGHT
        elif meaning is not None:
            reading.tastes[meaning] += _CUE_WEIGHT
        place += length
    return reading


def film_named(title: str, year: int | None) -> Film | None:
    """The film of the world that a title means, the nearest year where several share it."""
    films = _by_title().get(exact_key(title), ())
    return min(films, key=lambda film: abs(film.year - (year or film.year)), default=None)


def _longest(words: list[str], keys: list[str], place: int) -> tuple[int, Film | str | None]:
    """How many words are understood from `place` on (at least one), and as what."""
    for phrase, meaning in _phrases().get(keys[place], ()):
        length = len(phrase)
        if tuple(keys[place : place + length]) != phrase:
            continue
        if length == 1 and isinstance(meaning, Film) and words[place][0].islower():
            continue
        return length, meaning
    return 1, None


@cache
def _phrases() -> dict[str, list[tuple[tuple[str, ...], Film | str]]]:
    """First word to the phrases that begin with it, longest first."""
    found: dict[str, list[tuple[tuple[str, ...], Film | str]]] = defaultdict(list)
    for films in _by_title().values():
        for title in (films[0].title, *films[0].aliases):
            _add(found, title, films[0])
    for taste in world().tastes.values():
        for cue in taste.cues:
            _add(found, cue, taste.name)
    for entries in found.values():
        entries.sort(key=lambda entry: -len(entry[0]))
    return dict(found)


def _add(
    found: dict[str, list[tuple[tuple[str, ...], Film | str]]], text: str, meaning: Film | str
) -> None:
    phrase = tuple(exact_key(word) for word in _WORD.findall(text))
    if (phrase, meaning) not in found[phrase[0]]:
        found[phrase[0]].append((phrase, meaning))


@cache
def _by_title() -> dict[str, list[Film]]:
    films: dict[str, list[Film]] = defaultdict(list)
    for film in world().films:
        for title in (film.title, *film.aliases):
            films[exact_key(title)].append(film)
    return dict(films)
