"""The simulated judge: a rating depends on how many conditions a candidate meets."""

from __future__ import annotations

import random

from convrec.demo.ratings import write_ratings
from convrec.demo.reader import find_work, read_post
from convrec.demo.teacher import is_near, understood_wish
from convrec.demo.wish import Wish
from convrec.demo.world import Work, World
from convrec.titles.line_format import TitleYear

PREFERRED, MATCH, NEAR, OFF = 0.8, 0.5, -0.1, -0.5
"""Mean rating, as a share of the scale, of a work that meets the wish and its preferences, one that
meets the conditions, one that has a genre and is not refused, and any other."""
OVERLOOK_REFUSAL, OVERLOOK_YEARS = 0.1, 0.05
"""Probability, per response, that what is refused or the years asked for are overlooked."""


def respond(
    conversation: str, candidates: str, response_format: object, rng: random.Random, world: World
) -> str:
    """The judge's response to numbered lines; raises InputError as `write_ratings` does."""
    reading = read_post(conversation, world)
    wish = understood_wish(reading, rng, OVERLOOK_REFUSAL, OVERLOOK_YEARS)

    def opinion(item: TitleYear | None) -> float:
        work = find_work(item.title, item.year, world) if item else None
        return NEAR if work is None else mean_rating(work, wish)

    return write_ratings(candidates, response_format, opinion, rng)


def mean_rating(work: Work, wish: Wish) -> float:
    """The rating of a work without noise and position bias."""
    if wish.allows(work):
        return PREFERRED if wish.preference(work) > 1 else MATCH
    return NEAR if is_near(work, wish) else OFF
