"""The text of a simulated judge's ratings: noisy, and in favor of early positions.

Like real judges it sometimes skips a candidate or stops midway.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

from convrec.errors import InputError
from convrec.titles.line_format import TitleYear, parse_line

NOISE = 0.45
POSITION = 0.25
"""Added to the first candidate and subtracted from the last, as a share of the scale."""
SKIP, TRUNCATE = 0.006, 0.004
"""Probability, per response, of a skipped candidate and of truncated JSON."""

_DESCRIPTION = re.compile(r"(\(\d{4}\)): .*")
"""A description after a line with a year, which the simulated judge does not need."""

_CANDIDATE = re.compile(r"^[ \t]*(\d+)[.)][ \t]+(\S.*)$", re.MULTILINE)


def write_ratings(
    candidates: str,
    response_format: object,
    opinion: Callable[[TitleYear | None], float],
    rng: random.Random,
) -> str:
    """The judge's response: `{"ratings": [{"candidate": 1, "rating": 2}, ...]}`.

    `candidates` are numbered lines; `opinion` is the mean rating of one, as a share of the scale.
    Raises InputError if there are none, or if the response schema has no maximum rating.
    """
    scale = _rating_scale(response_format)
    lines = _CANDIDATE.findall(candidates)
    if not lines:
        raise InputError("a request to demo-judge needs numbered lines between <candidates> tags")
    ratings = []
    for index, (number, line) in enumerate(lines):
        position_bias = POSITION * (1 - 2 * index / max(len(lines) - 1, 1))
        title = _DESCRIPTION.sub(r"\1", line)
        mean = opinion(parse_line(title)) + position_bias + rng.gauss(0, NOISE)
        rating = max(-scale, min(scale, round(scale * mean)))
        ratings.append({"candidate": int(number), "rating": rating})
    if len(ratings) > 1 and rng.random() < SKIP:
        ratings.pop(rng.randrange(len(ratings)))
    text = json.dumps({"ratings": ratings})
    return text[: len(text) // 2] if rng.random() < TRUNCATE else text


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
