"""The simulated judge: noisy ratings of candidates, kinder to those that stand early.

It rates a candidate by whether its taste is the one that the conversation states, and answers in
the JSON that the request's schema asks for. Now and then it forgets a candidate or breaks off in
the middle, as real judges do.
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
"""Mean rating, as a share of the scale, for the taste, its neighbour, and anything else."""
NOISE = 0.45
POSITION = 0.25
"""Added to the first candidate and taken from the last, as a share of the scale."""
MISREAD = 0.06
FORGETS, BREAKS_OFF = 0.006, 0.004
"""Chances, an answer, of one candidate left out and of unfinished JSON."""

_CANDIDATE = re.compile(r"^[ \t]*(\d+)[.)][ \t]+(\S.*)$", re.MULTILINE)


def respond(
    conversation: str, candidates: str, response_format: object, rng: random.Random, here: World
) -> str:
    """The judge's reply: `{"ratings": [{"candidate": 1, "rating": 2}, ...]}`.

    `candidates` are numbered lines, `here` is the world that they are of. Raises InputError where
    there are none, or where the response schema has no bound of ratings.
    """
    scale = _scale(response_format)
    taste = parse_post(conversation, here).strongest()
    if taste is not None and rng.random() < MISREAD:
        taste = here.tastes[taste].neighbour
    lines = _CANDIDATE.findall(candidates)
    if not lines:
        raise InputError("a request to demo-judge needs numbered lines between <candidates> tags")
    ratings = []
    for place, (number, line) in enumerate(lines):
        item = parse_line(line)
        work = find_work(item.title, item.year, here) if item else None
        lean = POSITION * (1 - 2 * place / max(len(lines) - 1, 1))
        opinion = _worth(work, taste, here) + lean + rng.gauss(0, NOISE)
        rating = max(-scale, min(scale, round(scale * opinion)))
        ratings.append({"candidate": int(number), "rating": rating})
    if len(ratings) > 1 and rng.random() < FORGETS:
        ratings.pop(rng.randrange(len(ratings)))
    answered = json.dumps({"ratings": ratings})
    return answered[: len(answered) // 2] if rng.random() < BREAKS_OFF else answered


def _worth(work: Work | None, taste: str | None, here: World) -> float:
    if work is None or taste is None:
        return NEAR
    if work.taste == taste:
        return MATCH
    return NEAR if work.taste == here.tastes[taste].neighbour else OFF


def _scale(response_format: object) -> int:
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
