"""How many samples a training and an evaluation need, and what to say about fewer."""

from __future__ import annotations

TINY_DEMONSTRATIONS = 1000
"""A model that is trained from nothing needs about so many demonstrations to learn to write."""

FEW_DEMONSTRATIONS = 20
"""From fewer, no model learns more than the format."""

FEW_TEST_POSTS = 50
"""With fewer, intervals are wider than most differences."""


def few_demonstrations(count: int, base: str) -> str:
    """What to expect of training `base` on `count` demonstrations; empty if they are enough."""
    if 0 < count < TINY_DEMONSTRATIONS and base == "tiny":
        return (
            f"{count:,} demonstrations are too few for model.base=tiny, which learns the "
            f"language from them, too (about {TINY_DEMONSTRATIONS:,} are needed); start from a "
            "pretrained model, such as model.base=smollm2 with model.prompt=instruct"
        )
    if 0 < count < FEW_DEMONSTRATIONS:
        return (
            f"{count:,} demonstrations teach the format of a list, but no taste; add "
            "conversations before you train"
        )
    return ""


def few_test_posts(count: int) -> str:
    """What to expect of an evaluation on `count` conversations; empty if they are enough."""
    if 0 < count < FEW_TEST_POSTS:
        return (
            f"{count:,} test conversations give wide intervals: a difference between two systems "
            "will rarely be certain"
        )
    return ""
