"""Find the works and tastes that a post mentions, as the simulated models understand them.

Titles and cues are sequences of words, indexed by the first word, so that a post is parsed in one
pass. A one-word title counts only if it is capitalized: "her" is a pronoun, "Her" may be a film.
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

Meaning = Work | str
"""A work, or the name of a taste."""

Phrases = dict[str, list[tuple[tuple[str, ...], Meaning]]]
"""First word → phrases that start with it, and their meanings."""


@dataclass
class ParsedPost:
    """Works in order of mention, and the weight of the evidence for each taste."""

    works: list[Work] = field(default_factory=list)
    tastes: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def main_taste(self) -> str | None:
        """The taste with most evidence; None without any."""
        return max(self.tastes, key=lambda name: self.tastes[name], default=None)


def parse_post(text: str, world: World | None = None) -> ParsedPost:
    """Find the works and cues of a world (by default the films) in a conversation."""
    world = world or load_world()
    words = _WORD.findall(text)
    keys = [exact_key(word) for word in words]
    post = ParsedPost()
    position = 0
    while position < len(words):
        length, meaning = _longest_phrase(world, words, keys, position)
        if isinstance(meaning, Work):
            if meaning not in post.works:
                post.works.append(meaning)
            post.tastes[meaning.taste] += _WORK_WEIGHT
        elif meaning is not None:
            post.tastes[meaning] += _CUE_WEIGHT
        position += length
    return post


def find_work(title: str, year: int | None, world: World | None = None) -> Work | None:
    """The work of a world with this title, the one nearest in year if there are several."""
    works = _works_by_title(world or load_world()).get(exact_key(title), ())
    return min(works, key=lambda work: abs(work.year - (year or work.year)), default=None)


def _longest_phrase(
    world: World, words: list[str], keys: list[str], position: int
) -> tuple[int, Meaning | None]:
    """(number of words, at least one, of the phrase at a position; its meaning)."""
    for phrase, meaning in _phrases(world).get(keys[position], ()):
        length = len(phrase)
        if tuple(keys[position : position + length]) != phrase:
            continue
        if length == 1 and isinstance(meaning, Work) and words[position][0].islower():
            continue
        return length, meaning
    return 1, None


@cache
def _phrases(world: World) -> Phrases:
    """The titles and cues of a world, longest first."""
    phrases: Phrases = defaultdict(list)
    for works in _works_by_title(world).values():
        for title in (works[0].title, *works[0].aliases):
            _add_phrase(phrases, title, works[0])
    for taste in world.tastes.values():
        for cue in taste.cues:
            _add_phrase(phrases, cue, taste.name)
    for entries in phrases.values():
        entries.sort(key=lambda entry: -len(entry[0]))
    return dict(phrases)


def _add_phrase(phrases: Phrases, text: str, meaning: Meaning) -> None:
    phrase = tuple(exact_key(word) for word in _WORD.findall(text))
    if (phrase, meaning) not in phrases[phrase[0]]:
        phrases[phrase[0]].append((phrase, meaning))


@cache
def _works_by_title(world: World) -> dict[str, list[Work]]:
    """Key of a title or alias → works with it."""
    works: dict[str, list[Work]] = defaultdict(list)
    for work in world.works:
        for title in (work.title, *work.aliases):
            works[exact_key(title)].append(work)
    return dict(works)
