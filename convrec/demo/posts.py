"""The demo's posts: Reddit-like requests and recommendations, generated from a seed.

A poster has one taste, names 1–3 liked works and usually says what they want. Each reply is a
sample with 3–6 works of that taste, skewed towards those with a large `crowd`, and never one that
the post names. Some rows are broken on purpose, to show the quarantine.
"""

from __future__ import annotations

import math
import random
from calendar import timegm
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convrec.demo.broken_rows import broken_rows
from convrec.demo.world import Work, World, WorldName, load_world

STRAY = 0.1
"""Probability that a recommended work has the neighboring taste."""

CROWD_POWER = 1.5
"""Weight of a recommended work = crowd ** CROWD_POWER."""

_MONTHS = {
    "train": ((2019, 1), (2022, 11)),
    "validation": ((2022, 11), (2022, 12)),
    "test": ((2022, 12), (2023, 1)),
}
"""Split → first month, and the month after its last one."""


def generate_rows(
    seed: int, contexts: Mapping[str, int], world_name: WorldName = "films"
) -> list[Any]:
    """Raw rows for `contexts[split]` posts of each split, in order of time within a split.

    A row has the fields of the authors' JSONL: `sample_id`, `prompt` (one chat message),
    `seen_titles`, `groundtruth_with_release_year` ([title, "year"] pairs) and `created_utc`
    (seconds). Broken rows are inserted among the train rows and come on top of the number.
    """
    rng, world = random.Random(seed), load_world(world_name)
    texts: set[str] = set()
    rows: list[Any] = []
    for split, months in _MONTHS.items():
        first, after = (timegm((year, month, 1, 0, 0, 0)) for year, month in months)
        moments = sorted(rng.randrange(first, after) for _ in range(contexts.get(split, 0)))
        for number, moment in enumerate(moments):
            rows += _make_samples(f"demo_{split}_{number}", moment, texts, world, rng)
    for broken in broken_rows(world.words.broken):
        rows.insert(rng.randrange(max(contexts.get("train", 0), 1)), broken)
    return rows


def _make_samples(
    name: str, moment: int, texts: set[str], world: World, rng: random.Random
) -> list[dict[str, Any]]:
    """The rows of one post, one per reply, all with the same prompt."""
    while True:
        taste = rng.choice(list(world.tastes))
        named, text = _write_post(world, taste, rng)
        if text not in texts:
            break
    texts.add(text)
    replies = rng.choices((1, 2, 3), weights=(75, 20, 5))[0]
    return [
        {
            "sample_id": f"{name}_{reply}",
            "prompt": [{"role": "user", "content": f"USER: {text}"}],
            "seen_titles": [work.title for work in named],
            "groundtruth_with_release_year": [
                [work.title, str(work.year)] for work in _draw_reply(world, taste, named, rng)
            ],
            "created_utc": moment,
        }
        for reply in range(replies)
    ]


def _write_post(world: World, taste: str, rng: random.Random) -> tuple[list[Work], str]:
    """(works named, text) of a poster with this taste."""
    poster, words = world.tastes[taste], world.words
    count = rng.choices((1, 2, 3), weights=(45, 40, 15))[0]
    liked = _draw_works(world.of_taste(taste), count, _fame_weight, rng)
    title_form = words.dated if rng.random() < 0.4 else "{title}"
    *most, last = (_format_work(work, title_form, rng) for work in liked)
    parts = [rng.choice(words.openers)] if rng.random() < 0.35 else []
    works = f"{', '.join(most)} and {last}" if most else last
    parts.append(rng.choice(words.liked).format(works=works))
    if rng.random() < 0.85:
        parts.append(rng.choice(words.wants).format(want=rng.choice(poster.wants)))
        if rng.random() < 0.35:
            mood = rng.choice(poster.moods)
            parts.append(f"{mood[0].upper()}{mood[1:]}.")
    else:
        parts.append(rng.choice(words.alike))
    named = list(liked)
    if rng.random() < 0.15:
        other = rng.choice([name for name in world.tastes if name != taste])
        named += _draw_works(world.of_taste(other), 1, _fame_weight, rng)
        sentence = rng.choice(words.disliked)
        parts.append(sentence.format(work=_format_work(named[-1], title_form, rng)))
    if rng.random() < 0.3:
        parts.append(rng.choice(words.closings))
    text = " ".join(parts)
    return named, text.lower() if rng.random() < 0.12 else text


def _draw_reply(world: World, taste: str, named: Sequence[Work], rng: random.Random) -> list[Work]:
    """What another user recommends: 3–6 works, none of them named in the post."""
    count = rng.randint(3, 6)
    strays = sum(rng.random() < STRAY for _ in range(count))
    neighbor = world.of_taste(world.tastes[taste].neighbor)
    on_taste = [work for work in world.of_taste(taste) if work not in named]
    works = _draw_works(on_taste, count - strays, _crowd_weight, rng)
    works += _draw_works([w for w in neighbor if w not in named], strays, _crowd_weight, rng)
    rng.shuffle(works)
    return works


def _draw_works(
    works: Sequence[Work], count: int, weight: Callable[[Work], float], rng: random.Random
) -> list[Work]:
    """`count` works, drawn by weight without replacement, in the order of drawing."""
    return sorted(works, key=lambda work: -(rng.random() ** (1 / weight(work))))[:count]


def _fame_weight(work: Work) -> float:
    return float(work.fame)


def _crowd_weight(work: Work) -> float:
    return math.pow(work.crowd, CROWD_POWER)


def _format_work(work: Work, form: str, rng: random.Random) -> str:
    """A work as people write it; `form` has the fields {title}, {year} and {author}."""
    title = rng.choice((work.title, *work.aliases)) if rng.random() < 0.08 else work.title
    return form.format(title=title, year=work.year, author=work.author)
