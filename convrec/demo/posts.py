"""Posts whose author wants several things at once: generated requests and recommendations.

Each post has one kind, which ends its `sample_id` (`demo_train_12_0_negation`: post 12 of train,
reply 0), so that an evaluation can slice by it:

plain       one or two genres, perhaps a mood or a person
era         genres and years
negation    genres, or titles that stand for them, and something that is ruled out
title-like  titles that stand for their genres, perhaps newer or older ones

Each reply is a sample with 3-6 works that meet every condition, drawn by preference × crowd. None
is named in the post. Some rows are broken on purpose, to show the quarantine.
"""

from __future__ import annotations

import math
import random
from calendar import timegm
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from convrec.demo.broken_rows import broken_rows
from convrec.demo.phrasing import write_post
from convrec.demo.wish import EVER, Refusal, Wish
from convrec.demo.world import Work, World, WorldName, load_world

Kind = Literal["plain", "era", "negation", "title-like"]
KINDS: tuple[Kind, ...] = get_args(Kind)
KIND_WEIGHTS = (15, 20, 45, 20)

CROWD_POWER = 1.0
"""Weight of a recommended work = preference × crowd ** CROWD_POWER."""

FEWEST, MOST = 6, 30
"""Works that a wish may allow."""

REMOVED = (0.35, 0.8)
"""Share of the weight of the works that a refusal removes, at least and at most."""

STANDS_FOR, LIKED, SECOND_TITLE, SECOND_REFUSAL = 0.3, 0.5, 0.4, 0.3
"""Probabilities of titles instead of genres in a negation, of a liked title that has one of the
genres, of a second title that stands for them, and of a second refusal."""

_MONTHS = {
    "train": ((2019, 1), (2022, 11)),
    "validation": ((2022, 11), (2022, 12)),
    "test": ((2022, 12), (2023, 1)),
}
"""Split → first month, and the month after its last one."""


@dataclass(frozen=True)
class Post:
    """A post, and what its author wants; `named` are the works in its text."""

    kind: Kind
    wish: Wish
    named: tuple[Work, ...]
    text: str


def generate_rows(seed: int, contexts: Mapping[str, int], world_name: WorldName) -> list[Any]:
    """Raw rows for `contexts[split]` posts of each split, in order of time within a split.

    A row has the fields of the authors' JSONL: `sample_id`, `prompt` (one chat message),
    `seen_titles`, `groundtruth_with_release_year` ([title, "year"] pairs) and `created_utc`
    (seconds). Broken rows are inserted among the train rows and come on top of the number.
    """
    rng, world = random.Random(seed), load_world(world_name)
    rows: list[Any] = [row for _, row in _draw_samples(contexts, world, rng)]
    for broken in broken_rows(world.broken):
        rows.insert(rng.randrange(max(contexts.get("train", 0), 1)), broken)
    return rows


def generate_samples(
    seed: int, contexts: Mapping[str, int], world_name: WorldName
) -> list[tuple[Post, dict[str, Any]]]:
    """The rows of `generate_rows` that are not broken, each with its post."""
    return list(_draw_samples(contexts, load_world(world_name), random.Random(seed)))


def _draw_samples(
    contexts: Mapping[str, int], world: World, rng: random.Random
) -> Iterator[tuple[Post, dict[str, Any]]]:
    posts = _draw_posts(world, sum(contexts.values()), rng)
    for split, months in _MONTHS.items():
        first, after = (timegm((year, month, 1, 0, 0, 0)) for year, month in months)
        moments = sorted(rng.randrange(first, after) for _ in range(contexts.get(split, 0)))
        for number, moment in enumerate(moments):
            post = next(posts)
            for row in _make_samples(f"demo_{split}_{number}", moment, post, world, rng):
                yield post, row


def _draw_posts(world: World, count: int, rng: random.Random) -> Iterator[Post]:
    """Posts with different texts."""
    seen: set[str] = set()
    while len(seen) < count:
        post = draw_post(world, rng)
        if post.text not in seen:
            seen.add(post.text)
            yield post


def draw_post(world: World, rng: random.Random) -> Post:
    """A post of a random kind."""
    (kind,) = rng.choices(KINDS, KIND_WEIGHTS)
    while True:
        stands_for = kind == "title-like" or (kind == "negation" and rng.random() < STANDS_FOR)
        wish, liked, relative = _draw_basis(world, stands_for, rng)
        if kind == "era":
            wish = replace(wish, years=_draw_years(world, rng))
        elif kind == "title-like" and len(liked) == 1 and rng.random() < 0.6:
            relative = rng.choice(("newer", "older"))
            year = liked[0].year
            years = (year + 1, EVER[1]) if relative == "newer" else (EVER[0], year - 1)
            wish = replace(wish, years=years)
        elif kind == "plain" and rng.random() < 0.6:
            wish = _with_preference(world, wish, rng)
        allowed = allowed_works(world, wish, liked)
        if kind == "negation":
            wish = _with_refusals(world, wish, allowed, rng)
            allowed = allowed_works(world, wish, liked) if wish.refused else []
        if FEWEST <= len(allowed) <= MOST:
            text = write_post(world, wish, liked, rng, relative=relative)
            return Post(kind, wish, tuple(liked), text)


def allowed_works(world: World, wish: Wish, named: Sequence[Work]) -> list[Work]:
    """The works of the catalog that meet every condition and are not named in the post."""
    return [work for work in world.catalog if wish.allows(work) and work not in named]


def work_weight(wish: Wish, work: Work) -> float:
    """How often an allowed work is recommended."""
    return wish.preference(work) * math.pow(work.crowd, CROWD_POWER)


def _draw_basis(world: World, stands_for: bool, rng: random.Random) -> tuple[Wish, list[Work], str]:
    """(wish, works named, "same" if they stand for the genres of the wish)."""
    anchor = rng.choice(world.catalog)
    genres = sorted(anchor.genres)
    wanted = frozenset(rng.sample(genres, min(len(genres), 1 if rng.random() < 0.2 else 2)))
    wish = Wish(genres=wanted)
    if not stands_for:
        alike = [work for work in world.catalog if not wanted.isdisjoint(work.genres)]
        return wish, _draw_named(alike, rng) if rng.random() < LIKED else [], ""
    wish = Wish(genres=frozenset(rng.sample(genres, min(len(genres), 2))))
    liked = _draw_named([work for work in world.catalog if wish.genres <= work.genres], rng)
    if rng.random() < SECOND_TITLE:
        others = [w for w in world.catalog if w not in liked and wish.genres <= w.genres]
        liked += _draw_named(others, rng) if others else []
    return wish, liked, "same"


def _draw_named(works: Sequence[Work], rng: random.Random) -> list[Work]:
    return rng.choices(works, [work.fame for work in works])


def _draw_years(world: World, rng: random.Random) -> tuple[int, int]:
    point = rng.random()
    if point < 0.6:
        era = rng.choice(list(world.eras.values()))
        return era.first, era.last
    year = rng.randrange(1950, 2011, 10)
    return (year + 1, EVER[1]) if point < 0.8 else (EVER[0], year - 1)


def _with_preference(world: World, wish: Wish, rng: random.Random) -> Wish:
    """The wish with a mood or a person that some work has."""
    work = rng.choice([work for work in world.catalog if wish.genres <= work.genres])
    if rng.random() < 0.75:
        return replace(wish, mood=work.mood)
    return replace(wish, person=rng.choice(work.people))


def _with_refusals(world: World, wish: Wish, allowed: Sequence[Work], rng: random.Random) -> Wish:
    """The wish with one or two refusals; as it is if there is none that tells."""
    wish = replace(wish, refused=_draw_refusal(world, wish, allowed, rng))
    if wish.refused and rng.random() < SECOND_REFUSAL:
        left = [work for work in allowed if wish.allows(work)]
        both = wish.refused | _draw_refusal(world, wish, left, rng)
        narrowed = replace(wish, refused=both)
        if sum(map(narrowed.allows, left)) >= FEWEST:
            return narrowed
    return wish


def _draw_refusal(world: World, wish: Wish, allowed: Sequence[Work], rng: random.Random) -> Refusal:
    """Something that a good share of the allowed works has; empty if there is nothing."""
    options = {
        "genres": [
            Refusal(genres=frozenset({genre})) for genre in world.genres if genre not in wish.genres
        ],
        "years": [Refusal(years=frozenset({(era.first, era.last)})) for era in world.eras.values()],
        "moods": [Refusal(moods=frozenset({mood})) for mood in world.moods],
        "people": [
            Refusal(people=frozenset({name}))
            for name, works in Counter(name for w in allowed for name in w.people).items()
            if works > 1
        ],
    }
    fitting = {
        kind: [refused for refused in found if _is_telling(refused, wish, allowed)]
        for kind, found in options.items()
    }
    weights = [weight if fitting[kind] else 0 for kind, weight in _REFUSAL_WEIGHTS.items()]
    if not any(weights):
        return Refusal()
    (kind,) = rng.choices(list(_REFUSAL_WEIGHTS), weights)
    return rng.choice(fitting[kind])


_REFUSAL_WEIGHTS = {"genres": 45, "years": 30, "moods": 15, "people": 10}


def _is_telling(refused: Refusal, wish: Wish, allowed: Sequence[Work]) -> bool:
    """Whether it removes a good share of the weight of the allowed works."""
    weights = [(work_weight(wish, work), refused.covers(work)) for work in allowed]
    total = sum(weight for weight, _ in weights)
    removed = sum(weight for weight, is_removed in weights if is_removed)
    return REMOVED[0] * total <= removed <= REMOVED[1] * total


def _make_samples(
    name: str, moment: int, post: Post, world: World, rng: random.Random
) -> list[dict[str, Any]]:
    """The rows of one post, one per reply, all with the same prompt."""
    replies = rng.choices((1, 2, 3), weights=(75, 20, 5))[0]
    return [
        {
            "sample_id": f"{name}_{reply}_{post.kind}",
            "prompt": [{"role": "user", "content": f"USER: {post.text}"}],
            "seen_titles": [work.title for work in post.named],
            "groundtruth_with_release_year": [
                [work.title, str(work.year)] for work in _draw_reply(world, post, rng)
            ],
            "created_utc": moment,
        }
        for reply in range(replies)
    ]


def _draw_reply(world: World, post: Post, rng: random.Random) -> list[Work]:
    """What another user recommends: 3-6 allowed works, drawn without replacement."""
    works = allowed_works(world, post.wish, post.named)
    keyed = [(rng.random() ** (1 / work_weight(post.wish, work)), work) for work in works]
    keyed.sort(key=lambda pair: -pair[0])
    return [work for _, work in keyed[: rng.randint(3, 6)]]
