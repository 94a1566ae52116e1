"""The simulated teacher: a ranked list with the faults of a real model.

It overlooks some refusals, prefers famous works to those that posters name, drifts away from the
wish down the list, names works outside the catalog, and sometimes repeats itself.
"""

from __future__ import annotations

import random
from dataclasses import replace

from convrec.demo.list_text import draw_list, requested_count, shuffle_by_fame, write_list
from convrec.demo.reader import Reading, read_post
from convrec.demo.wish import EVER, Refusal, Wish
from convrec.demo.world import Work, World

OVERLOOK_REFUSAL, OVERLOOK_YEARS = 0.3, 0.15
"""Probability, per response, that what is refused or the years asked for are overlooked."""
FIRST_ON_WISH, LAST_ON_WISH = 0.85, 0.45
"""Probability that the first and the last line meet the wish; linear in between."""
REPEAT_SEEN = 0.1
"""Probability that a work which the poster named may be recommended."""


def respond(conversation: str, prompt: str, rng: random.Random, world: World) -> str:
    """The teacher's response; `prompt`, the text around the conversation, states the length."""
    works = rank_works(read_post(conversation, world), requested_count(prompt), rng, world)
    return write_list(works, prompt, world.phrases["introductions"], rng)


def rank_works(reading: Reading, count: int, rng: random.Random, world: World) -> list[Work]:
    """`count` works for a post, the best guess first; fewer if the world has no more."""
    wish = understood_wish(reading, rng, OVERLOOK_REFUSAL, OVERLOOK_YEARS)
    excluded = {work for work in reading.works if rng.random() >= REPEAT_SEEN}
    eligible = [work for work in world.works if work not in excluded]
    on_wish = shuffle_by_fame([work for work in eligible if wish.allows(work)], rng)
    on_wish.sort(key=wish.preference)
    rest = [work for work in eligible if not wish.allows(work)]
    near = shuffle_by_fame([work for work in rest if not is_near(work, wish)], rng)
    near += shuffle_by_fame([work for work in rest if is_near(work, wish)], rng)
    return draw_list(on_wish, near, count, rng, first=FIRST_ON_WISH, last=LAST_ON_WISH)


def understood_wish(
    reading: Reading, rng: random.Random, overlook_refusal: float, overlook_years: float
) -> Wish:
    """One of the wishes that a post may mean, with what a careless reader overlooks left out."""
    wish = rng.choice(reading.guesses())
    if rng.random() < overlook_refusal:
        wish = replace(wish, refused=Refusal())
    if rng.random() < overlook_years:
        wish = replace(wish, years=EVER)
    return wish


def is_near(work: Work, wish: Wish) -> bool:
    """Whether a work that is not refused has one of the genres, if there is any to have."""
    has_genre = not wish.genres or not wish.genres.isdisjoint(work.genres)
    return has_genre and not wish.refused.covers(work)
