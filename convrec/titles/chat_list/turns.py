"""Answers in which the model goes on with a conversation of its own making."""

from __future__ import annotations

import re

_TURN = re.compile(
    r"^[ \t>*#]{0,6}(?:"
    r"(?P<user><\|user\|>|<\|im_start\|>user|\[inst\]|(?:human|user|customer|seeker|instruction|"
    r"question)\*{0,2}\s?:)|(?P<unsure>\[\|human\|?\]?)|"
    r"\[\|ai\|?\]?|<\|(?:assistant|im_start\|>assistant|im_end|endoftext|eot_id|end|system)\|?>|"
    r"\[/inst\]|</s>|(?:system|assistant|bot|recommender|chatbot|response|answer)\*{0,2}\s?:"
    r")[*\]|\s]*",
    re.IGNORECASE | re.MULTILINE,
)


def model_turns(text: str) -> list[str]:
    """What the model says, turn by turn, without what it lets a user say.

    The text itself if no user speaks in it. Turns of BAIZE's "[|Human|]" come last: the model often
    answers in them.
    """
    turns = list(_TURN.finditer(text))
    if not any(turn["user"] or turn["unsure"] for turn in turns):
        return [text]
    said: list[str] = [text[: turns[0].start()]]
    unsure: list[str] = []
    ends = [*(turn.start() for turn in turns[1:]), len(text)]
    for turn, end in zip(turns, ends, strict=True):
        if not turn["user"]:
            (unsure if turn["unsure"] else said).append(text[turn.end() : end])
    return [one for one in [*said, *unsure] if one.strip()]
