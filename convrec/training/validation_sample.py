"""The validation sample of a training: some contexts, and one sample of each."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from operator import itemgetter
from typing import Any, TypeVar

Row = TypeVar("Row")


def sample_contexts(
    rows: Sequence[Row],
    count: int,
    seed: int,
    context_of: Callable[[Any], Hashable] = itemgetter("context_id"),
) -> list[Row]:
    """Draw at most `count` contexts with equal probability, and one row of each.

    The rows are in the order in which `rows` names their contexts first. The same rows, count and
    seed give the same sample in every process. `context_of` names the context of a row; rows of
    prompt and completion may pass `itemgetter(0)`, as samples of one post share their prompt.
    """
    groups: dict[Hashable, list[Row]] = {}
    for row in rows:
        groups.setdefault(context_of(row), []).append(row)
    generator = random.Random(seed)
    drawn = sorted(generator.sample(range(len(groups)), min(count, len(groups))))
    contexts = list(groups.values())
    return [generator.choice(contexts[place]) for place in drawn]
