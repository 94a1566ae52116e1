"""The simulated judge: noisy ratings of candidates that favor early positions.

A rating depends on whether the candidate has the taste that the conversation states. Like real
judges it sometimes skips a candidate or stops midway.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any

from convrec.demo.post_parser import find_work, parse_post
from convrec.demo.world import Work, World
from convrec.errors import InputError
from convrec.titles.line_format import parse_line

MATCH, NEAR, OFF = 0.55, 0.0, -0.45
"""Mean rating, as a share of the scale, for the taste, its neighbor, and any other."""
NOISE = 0.45
POSITION = 0.25
"""Added to the first candidate and subtracted from the last, as a share of the scale."""
MISREAD = 0.06
"""Probability that the neighboring taste is understood."""
SKIP, TRUNCATE = 0.006, 0.004
"""Probability, per response, of a skipped candidate and of truncated JSON."""

_CANDIDATE = re.compile(r"^[ \t]*(\d+)[.)][ \t]+(\S.*)$", re.MULTILINE)


def respond(
    conversation: str, candidates: str, response_format: object, rng: random.Random, world: World
) -> str:
    """The judge's response: `{"ratings": [{"candidate": 1, "rating": 2}, ...]}`.

    `candidates` are numbered lines. Raises InputError if there are none, or if the response schema
    has no maximum rating.
    """
    scale = _rating_scale(response_format)
    taste = parse_post(conversation, world).main_taste()
    if taste is not None and rng.random() < MISREAD:
        taste = world.tastes[taste].neighbor
    lines = _CANDIDATE.findall(candidates)
    if not lines:
        raise InputError("a request to demo-judge needs numbered lines between <candidates> tags")
    ratings = []
    for index, (number, line) in enumerate(lines):
        item = parse_line(line)
        work = find_work(item.title, item.year, world) if item else None
        position_bias = POSITION * (1 - 2 * index / max(len(lines) - 1, 1))
        opinion = _mean_rating(work, taste, world) + position_bias + rng.gauss(0, NOISE)
        rating = max(-scale, min(scale, round(scale * opinion)))
        ratings.append({"candidate": int(number), "rating": rating})
    if len(ratings) > 1 and rng.random() < SKIP:
        ratings.pop(rng.randrange(len(ratings)))
    text = json.dumps({"ratings": ratings})
    return text[: len(text) // 2] if rng.random() < TRUNCATE else text


def _mean_rating(work: Work | None, taste: str | None, world: World) -> float:
    if work is None or taste is None:
        return NEAR
    if work.taste == taste:
        return MATCH
    return NEAR if work.taste == world.tastes[taste].neighbor else OFF


def _rating_scale(response_format: object) -> int:
    """L, the largest rating that the response schema allows."""
    node: Any = response_format
    try:
        for key in ("json_schema", "schema", "properties", "ratings", "items", "properties"):
            node = node[key]
        maximum = node["rating"]["maximum"]
    except (KeyError, TypeError):
        maximum = None
    if isinstance(maximum, int) and maximum > 0:
        return maximum
    raise InputError(
        "a request to demo-judge needs response_format json_schema with `ratings`, a list of "
        "objects whose integer `rating` has a `maximum` above 0"
    )
