"""The simulated teacher: a ranked list for the stated taste, with the faults of a real model.

It prefers famous works to those that posters name, misreads some posts, drifts off the taste down
the list, names works outside the catalog, writes alternative titles and wrong or no years, and
sometimes repeats itself. The rates are tuned to the targets in `benchmarks/demo_world.py`.
"""

from __future__ import annotations

import random

from convrec.demo.list_text import draw_list, requested_count, shuffle_by_fame, write_list
from convrec.demo.post_parser import ParsedPost, parse_post
from convrec.demo.world import Work, World

MISREAD = 0.12
"""Probability that the neighboring taste is understood."""
FIRST_ON_TASTE, LAST_ON_TASTE = 0.9, 0.55
"""Probability that the first and the last line have the taste; linear in between."""
REPEAT_SEEN = 0.1
"""Probability that a work which the poster named may be recommended."""


def respond(conversation: str, prompt: str, rng: random.Random, world: World) -> str:
    """The teacher's response to a conversation.

    `prompt` is the text around the conversation. It states the length ("exactly N"), and asks for
    years if it contains the word.
    """
    works = rank_works(parse_post(conversation, world), requested_count(prompt), rng, world)
    return write_list(works, prompt, world.words.introductions, rng)


def rank_works(post: ParsedPost, count: int, rng: random.Random, world: World) -> list[Work]:
    """`count` works for a post, the best guess first; fewer if the world has no more."""
    taste = post.main_taste()
    if taste is not None and rng.random() < MISREAD:
        taste = world.tastes[taste].neighbor
    excluded = {work for work in post.works if rng.random() >= REPEAT_SEEN}
    eligible = [work for work in world.works if work not in excluded]
    on_taste = shuffle_by_fame([work for work in eligible if work.taste == taste], rng)
    others = shuffle_by_fame([work for work in eligible if work.taste != taste], rng)
    return draw_list(on_taste, others, count, rng, first=FIRST_ON_TASTE, last=LAST_ON_TASTE)
