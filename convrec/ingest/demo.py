"""The demo's posts: Reddit-like requests and answers, generated from a seed.

A post comes from a poster with one taste, who names 1–3 liked films and mostly says what they
want. The answers to it are samples that share the post, each with 3–6 films of that taste, skewed
towards those that the board likes and never one that the post names. The rows have the raw schema
of the authors' Reddit-v2 files, plus `created_utc`; a few are broken on purpose, so that
quarantine has something to show. Films and tastes come from `convrec.llm.demo.world`, never from
the catalog.
"""

from __future__ import annotations

import math
import random
from calendar import timegm
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convrec.llm.demo.world import Film, World, world

STRAY = 0.1
"""Chance that an answer's film is of the neighbouring taste."""

CROWD_POWER = 1.5
"""How strongly answers flock to the films that the board likes."""

_MONTHS = {
    "train": ((2019, 1), (2022, 11)),
    "validation": ((2022, 11), (2022, 12)),
    "test": ((2022, 12), (2023, 1)),
}
_OPENERS = (
    "Hi all!", "Long weekend ahead.", "Down with a cold.", "Movie night on Friday.",
    "First post here.", "Rainy Sunday.", "My partner is away.", "Back with another request.",
    "Got a new TV.", "Can't sleep lately.", "Hello film people.", "Long flight tomorrow.",
)  # fmt: skip
_LIKED = (
    "I loved {films}.", "Just watched {films} and wow.", "{films} blew me away.",
    "Big fan of {films}.", "My favourites are {films}.", "Rewatched {films} last night.",
    "I keep going back to {films}.", "Finally saw {films}, so good.", "Really enjoyed {films}.",
    "{films} got me hooked.", "Nothing beats {films} for me.", "Can't stop thinking about {films}.",
)  # fmt: skip
_WANTS = (
    "Looking for {want}.", "Can anyone recommend {want}?", "I'm after {want}.",
    "In the mood for {want}.", "Where do I find {want}?", "Give me {want}.", "I want {want}.",
    "Please suggest {want}.", "Craving {want}.", "Any tips for {want}?",
)  # fmt: skip
_ALIKE = ("More like that?", "Anything similar?", "What should I see next?", "What else is there?")
_DISLIKED = (
    "Didn't care for {film} though.", "Not like {film} please.", "{film} left me cold.",
    "Hated {film}.", "Could not finish {film}.",
)  # fmt: skip
_CLOSINGS = (
    "Thanks!", "Any year is fine.", "Subtitles are fine.", "Old or new.", "Cheers.",
    "Hidden gems welcome.", "Bonus if it is under two hours.", "Thank you in advance.",
)  # fmt: skip


def generate(seed: int, contexts: Mapping[str, int]) -> list[Any]:
    """Raw rows for `contexts[split]` posts of each split, in order of time within a split.

    A row is what a line of the authors' JSONL holds: `sample_id`, `prompt` (chat messages, here
    the bare conversation), `seen_titles`, `groundtruth_with_release_year` ([title, "year"] pairs)
    and `created_utc` (seconds). The broken rows stand among the train rows and come on top.
    """
    rng = random.Random(seed)
    texts: set[str] = set()
    rows: list[Any] = []
    for split, months in _MONTHS.items():
        first, after = (timegm((year, month, 1, 0, 0, 0)) for year, month in months)
        moments = sorted(rng.randrange(first, after) for _ in range(contexts.get(split, 0)))
        for number, moment in enumerate(moments):
            rows += _samples(f"demo_{split}_{number}", moment, texts, rng)
    for broken in _broken_rows():
        rows.insert(rng.randrange(max(contexts.get("train", 0), 1)), broken)
    return rows


def _samples(name: str, moment: int, texts: set[str], rng: random.Random) -> list[dict[str, Any]]:
    """The rows of one post: one an answer, all with the same prompt."""
    here = world()
    while True:
        taste = rng.choice(list(here.tastes))
        named, text = _post(here, taste, rng)
        if text not in texts:
            break
    texts.add(text)
    answers = rng.choices((1, 2, 3), weights=(75, 20, 5))[0]
    return [
        {
            "sample_id": f"{name}_{answer}",
            "prompt": [{"role": "user", "content": f"USER: {text}"}],
            "seen_titles": [film.title for film in named],
            "groundtruth_with_release_year": [
                [film.title, str(film.year)] for film in _answer(here, taste, named, rng)
            ],
            "created_utc": moment,
        }
        for answer in range(answers)
    ]


def _post(here: World, taste: str, rng: random.Random) -> tuple[list[Film], str]:
    """(films named, text) of a poster with this taste."""
    words = here.tastes[taste]
    liked = _draw(here.of_taste(taste), rng.choices((1, 2, 3), weights=(45, 40, 15))[0], _fame, rng)
    years = rng.random() < 0.4
    written = [_written(film, years, rng) for film in liked]
    parts = [rng.choice(_OPENERS)] if rng.random() < 0.35 else []
    parts.append(rng.choice(_LIKED).format(films=_listed(written)))
    if rng.random() < 0.85:
        parts.append(rng.choice(_WANTS).format(want=rng.choice(words.wants)))
        if rng.random() < 0.35:
            parts.append(_sentence(rng.choice(words.moods)))
    else:
        parts.append(rng.choice(_ALIKE))
    named = list(liked)
    if rng.random() < 0.15:
        other = rng.choice([name for name in here.tastes if name != taste])
        named += _draw(here.of_taste(other), 1, _fame, rng)
        parts.append(rng.choice(_DISLIKED).format(film=_written(named[-1], years, rng)))
    if rng.random() < 0.3:
        parts.append(rng.choice(_CLOSINGS))
    text = " ".join(parts)
    return named, text.lower() if rng.random() < 0.12 else text


def _answer(here: World, taste: str, named: Sequence[Film], rng: random.Random) -> list[Film]:
    """What another user recommends: 3–6 films, none of them named in the post."""
    count = rng.randint(3, 6)
    strays = sum(rng.random() < STRAY for _ in range(count))
    near = here.of_taste(here.tastes[taste].neighbour)
    own = [film for film in here.of_taste(taste) if film not in named]
    films = _draw(own, count - strays, _crowd, rng)
    films += _draw([film for film in near if film not in named], strays, _crowd, rng)
    rng.shuffle(films)
    return films


def _draw(
    films: Sequence[Film], count: int, weight: Callable[[Film], float], rng: random.Random
) -> list[Film]:
    """`count` films without replacement, likelier by weight, the first drawn first."""
    return sorted(films, key=lambda film: -(rng.random() ** (1 / weight(film))))[:count]


def _fame(film: Film) -> float:
    return float(film.fame)


def _crowd(film: Film) -> float:
    return math.pow(film.crowd, CROWD_POWER)


def _written(film: Film, year: bool, rng: random.Random) -> str:
    """A film as people write it."""
    title = rng.choice((film.title, *film.aliases)) if rng.random() < 0.08 else film.title
    return f"{title} ({film.year})" if year else title


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:] + "."


def _broken_rows() -> list[Any]:
    """What real exports contain now and then: one row for each reason to refuse a row."""
    good = {
        "sample_id": "demo_broken",
        "prompt": [{"role": "user", "content": "USER: I loved Heat. Looking for a bank robbery."}],
        "seen_titles": ["Heat"],
        "groundtruth_with_release_year": [["Inside Man", "2006"]],
        "created_utc": timegm((2021, 6, 1, 12, 0, 0)),
    }
    truth, prompt = "groundtruth_with_release_year", "prompt"
    return [
        {key: value for key, value in good.items() if key != truth}
        | {"sample_id": "demo_broken_no_ground_truth"},
        good | {"sample_id": "demo_broken_empty_ground_truth", truth: []},
        good | {"sample_id": "demo_broken_year", truth: [["Inside Man", "20o6"]]},
        good
        | {"sample_id": "demo_broken_empty_post", prompt: [{"role": "user", "content": "USER: "}]},
        good | {"sample_id": "demo_broken_date", "created_utc": "last June"},
        "[deleted]",
    ]
