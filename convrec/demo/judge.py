"""The simulated judge: noisy ratings of candidates that favor early positions.

A rating depends on whether the candidate has the taste that the conversation states.
"""

from __future__ import annotations

import random

from convrec.demo.post_parser import find_work, parse_post
from convrec.demo.ratings import write_ratings
from convrec.demo.world import Work, World
from convrec.titles.line_format import TitleYear

MATCH, NEAR, OFF = 0.55, 0.0, -0.45
"""Mean rating, as a share of the scale, for the taste, its neighbor, and any other."""
MISREAD = 0.06
"""Probability that the neighboring taste is understood."""


def respond(
    conversation: str, candidates: str, response_format: object, rng: random.Random, world: World
) -> str:
    """The judge's response to numbered lines; raises InputError as `write_ratings` does."""
    taste = parse_post(conversation, world).main_taste()
    if taste is not None and rng.random() < MISREAD:
        taste = world.tastes[taste].neighbor

    def opinion(item: TitleYear | None) -> float:
        work = find_work(item.title, item.year, world) if item else None
        return _mean_rating(work, taste, world)

    return write_ratings(candidates, response_format, opinion, rng)


def _mean_rating(work: Work | None, taste: str | None, world: World) -> float:
    if work is None or taste is None:
        return NEAR
    if work.taste == taste:
        return MATCH
    return NEAR if work.taste == world.tastes[taste].neighbor else OFF
