"""What the simulated models understand of a post: the works it names and the tastes it states.

Titles and taste words are word sequences in one dictionary keyed by their first word, so that a
post is read in a single pass. A title of one word counts only where it is capitalised: "her" is a
pronoun, "Her" may be a film.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache

from convrec.demo.world import Work, World, load_world
from convrec.titles.normalize import exact_key

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_WORK_WEIGHT = 1.0
_CUE_WEIGHT = 1.5


@dataclass
class ParsedPost:
    """Works named, in order, and the evidence for each taste."""

    works: list[Work] = field(default_factory=list)
    tastes: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def strongest(self) -> str | None:
        """The taste with most evidence, None where there is no evidence at all."""
        return max(self.tastes, key=lambda name: self.tastes[name], default=None)


def parse_post(text: str, here: World | None = None) -> ParsedPost:
    """Recognise works and taste words of a world (by default the films) in a conversation."""
    here = here or load_world()
    words = _WORD.findall(text)
    keys = [exact_key(word) for word in words]
    reading = ParsedPost()
    place = 0
    while place < len(words):
        length, meaning = _longest(here, words, keys, place)
        if isinstance(meaning, Work):
            if meaning not in reading.works:
                reading.works.append(meaning)
            reading.tastes[meaning.taste] += _WORK_WEIGHT
        elif meaning is not None:
            reading.tastes[meaning] += _CUE_WEIGHT
        place += length
    return reading


def find_work(title: str, year: int | None, here: World | None = None) -> Work | None:
    """The work of a world that a title means, the nearest year where several share it."""
    works = _by_title(here or load_world()).get(exact_key(title), ())
    return min(works, key=lambda work: abs(work.year - (year or work.year)), default=None)


def _longest(
    here: World, words: list[str], keys: list[str], place: int
) -> tuple[int, Work | str | None]:
    """How many words are understood from `place` on (at least one), and as what."""
    for phrase, meaning in _phrases(here).get(keys[place], ()):
        length = len(phrase)
        if tuple(keys[place : place + length]) != phrase:
            continue
        if length == 1 and isinstance(meaning, Work) and words[place][0].islower():
            continue
        return length, meaning
    return 1, None


@cache
def _phrases(here: World) -> dict[str, list[tuple[tuple[str, ...], Work | str]]]:
    """First word to the phrases that begin with it, longest first."""
    found: dict[str, list[tuple[tuple[str, ...], Work | str]]] = defaultdict(list)
    for works in _by_title(here).values():
        for title in (works[0].title, *works[0].aliases):
            _add(found, title, works[0])
    for taste in here.tastes.values():
        for cue in taste.cues:
            _add(found, cue, taste.name)
    for entries in found.values():
        entries.sort(key=lambda entry: -len(entry[0]))
    return dict(found)


def _add(
    found: dict[str, list[tuple[tuple[str, ...], Work | str]]], text: str, meaning: Work | str
) -> None:
    phrase = tuple(exact_key(word) for word in _WORD.findall(text))
    if (phrase, meaning) not in found[phrase[0]]:
        found[phrase[0]].append((phrase, meaning))


@cache
def _by_title(here: World) -> dict[str, list[Work]]:
    works: dict[str, list[Work]] = defaultdict(list)
    for work in here.works:
        for title in (work.title, *work.aliases):
            works[exact_key(title)].append(work)
    return dict(works)
