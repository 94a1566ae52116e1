"""The demo's posts: Reddit-like requests and answers, generated from a seed.

A post comes from a poster with one taste, who names 1–3 liked works and mostly says what they
want. The answers to it are samples that share the post, each with 3–6 works of that taste, skewed
towards those that the board likes and never one that the post names. The rows have the raw schema
of the authors' Reddit-v2 files, plus `created_utc`; a few are broken on purpose, so that
quarantine has something to show. Works, tastes and phrases come from `convrec.demo.world`,
never from the catalog.
"""

from __future__ import annotations

import math
import random
from calendar import timegm
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convrec.demo.world import Work, World, WorldName, load_world

STRAY = 0.1
"""Chance that an answer's work is of the neighbouring taste."""

CROWD_POWER = 1.5
"""How strongly answers flock to the works that the board likes."""

_MONTHS = {
    "train": ((2019, 1), (2022, 11)),
    "validation": ((2022, 11), (2022, 12)),
    "test": ((2022, 12), (2023, 1)),
}


def generate_rows(seed: int, contexts: Mapping[str, int], of: WorldName = "films") -> list[Any]:
    """Raw rows for `contexts[split]` posts of each split, in order of time within a split.

    A row is what a line of the authors' JSONL holds: `sample_id`, `prompt` (chat messages, here
    the bare conversation), `seen_titles`, `groundtruth_with_release_year` ([title, "year"] pairs)
    and `created_utc` (seconds). The broken rows stand among the train rows and come on top.
    """
    rng, here = random.Random(seed), load_world(of)
    texts: set[str] = set()
    rows: list[Any] = []
    for split, months in _MONTHS.items():
        first, after = (timegm((year, month, 1, 0, 0, 0)) for year, month in months)
        moments = sorted(rng.randrange(first, after) for _ in range(contexts.get(split, 0)))
        for number, moment in enumerate(moments):
            rows += _samples(f"demo_{split}_{number}", moment, texts, here, rng)
    for broken in _broken_rows(here.words.broken):
        rows.insert(rng.randrange(max(contexts.get("train", 0), 1)), broken)
    return rows


def _samples(
    name: str, moment: int, texts: set[str], here: World, rng: random.Random
) -> list[dict[str, Any]]:
    """The rows of one post: one an answer, all with the same prompt."""
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
            "seen_titles": [work.title for work in named],
            "groundtruth_with_release_year": [
                [work.title, str(work.year)] for work in _answer(here, taste, named, rng)
            ],
            "created_utc": moment,
        }
        for answer in range(answers)
    ]


def _post(here: World, taste: str, rng: random.Random) -> tuple[list[Work], str]:
    """(works named, text) of a poster with this taste."""
    words, said = here.tastes[taste], here.words
    liked = _draw(here.of_taste(taste), rng.choices((1, 2, 3), weights=(45, 40, 15))[0], _fame, rng)
    dated = said.dated if rng.random() < 0.4 else "{title}"
    written = [_written(work, dated, rng) for work in liked]
    parts = [rng.choice(said.openers)] if rng.random() < 0.35 else []
    parts.append(rng.choice(said.liked).format(works=_listed(written)))
    if rng.random() < 0.85:
        parts.append(rng.choice(said.wants).format(want=rng.choice(words.wants)))
        if rng.random() < 0.35:
            parts.append(_sentence(rng.choice(words.moods)))
    else:
        parts.append(rng.choice(said.alike))
    named = list(liked)
    if rng.random() < 0.15:
        other = rng.choice([name for name in here.tastes if name != taste])
        named += _draw(here.of_taste(other), 1, _fame, rng)
        parts.append(rng.choice(said.disliked).format(work=_written(named[-1], dated, rng)))
    if rng.random() < 0.3:
        parts.append(rng.choice(said.closings))
    text = " ".join(parts)
    return named, text.lower() if rng.random() < 0.12 else text


def _answer(here: World, taste: str, named: Sequence[Work], rng: random.Random) -> list[Work]:
    """What another user recommends: 3–6 works, none of them named in the post."""
    count = rng.randint(3, 6)
    strays = sum(rng.random() < STRAY for _ in range(count))
    near = here.of_taste(here.tastes[taste].neighbour)
    own = [work for work in here.of_taste(taste) if work not in named]
    works = _draw(own, count - strays, _crowd, rng)
    works += _draw([work for work in near if work not in named], strays, _crowd, rng)
    rng.shuffle(works)
    return works


def _draw(
    works: Sequence[Work], count: int, weight: Callable[[Work], float], rng: random.Random
) -> list[Work]:
    """`count` works without replacement, likelier by weight, the first drawn first."""
    return sorted(works, key=lambda work: -(rng.random() ** (1 / weight(work))))[:count]


def _fame(work: Work) -> float:
    return float(work.fame)


def _crowd(work: Work) -> float:
    return math.pow(work.crowd, CROWD_POWER)


def _written(work: Work, form: str, rng: random.Random) -> str:
    """A work as people write it; the form is over {title}, {year} and {author}."""
    title = rng.choice((work.title, *work.aliases)) if rng.random() < 0.08 else work.title
    return form.format(title=title, year=work.year, author=work.author)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:] + "."


def _broken_rows(said: Mapping[str, Any]) -> list[Any]:
    """What real exports contain now and then: one row for each reason to refuse a row."""
    good = {
        "sample_id": "demo_broken",
        "prompt": [{"role": "user", "content": f"USER: {said['post']}"}],
        "seen_titles": [said["seen"]],
        "groundtruth_with_release_year": [said["wanted"]],
        "created_utc": timegm((2021, 6, 1, 12, 0, 0)),
    }
    truth, prompt = "groundtruth_with_release_year", "prompt"
    return [
        {key: value for key, value in good.items() if key != truth}
        | {"sample_id": "demo_broken_no_ground_truth"},
        good | {"sample_id": "demo_broken_empty_ground_truth", truth: []},
        good | {"sample_id": "demo_broken_year", truth: [[said["wanted"][0], "20o6"]]},
        good
        | {"sample_id": "demo_broken_empty_post", prompt: [{"role": "user", "content": "USER: "}]},
        good | {"sample_id": "demo_broken_date", "created_utc": "last June"},
        "[deleted]",
    ]
