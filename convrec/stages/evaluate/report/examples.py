"""A few test conversations with the list of every system and the status of each line."""

from __future__ import annotations

import random
from typing import NamedTuple

from convrec.metrics.relevance import list_lines, match_lines
from convrec.stages.evaluate.samples import Sample, SampleList
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import LineFormat

EXAMPLES = 4
TITLE_CHARACTERS = 100


class ExampleLine(NamedTuple):
    """One line of a list and its status: hit, seen, repeat, outside, or empty."""

    text: str
    status: str


class Example(NamedTuple):
    """A test conversation, its ground truth, and the lists by system."""

    sample_id: str
    conversation: str
    ground_truth: list[str]
    lists: dict[str, list[ExampleLine]]

    @property
    def title(self) -> str:
        """The beginning of the conversation, in one line."""
        text = " ".join(self.conversation.removeprefix("USER:").split()) or "(no text)"
        if len(text) <= TITLE_CHARACTERS:
            return text
        return f"{text[:TITLE_CHARACTERS].rsplit(' ', 1)[0]} …"


def pick_samples(samples: list[Sample], seed: int) -> list[Sample]:
    """Return EXAMPLES random samples; the same ones for the same seed."""
    return random.Random(seed).sample(samples, min(EXAMPLES, len(samples)))


def build_examples(
    samples: list[Sample],
    lists: dict[str, list[SampleList]],
    index: TitleIndex,
    line_format: LineFormat,
) -> list[Example]:
    """Return the samples with the first list of each system."""
    first_lists = {
        system: {x.sample: x.completion for x in reversed(of_system)}
        for system, of_system in lists.items()
    }
    return [
        Example(
            sample.sample_id,
            sample.conversation,
            [line_format.format(*truth) for truth in sample.ground_truth],
            {
                system: _example_lines(texts[position], sample, index, line_format)
                for system, texts in first_lists.items()
                if position in texts
            },
        )
        for position, sample in enumerate(samples)
    ]


def _example_lines(
    text: str, sample: Sample, index: TitleIndex, line_format: LineFormat
) -> list[ExampleLine]:
    lines = list_lines(text)
    matched = match_lines(lines, index, sample.seen, sample.ground_truth, line_format)
    return [ExampleLine(line, match.status) for line, match in zip(lines, matched, strict=True)]
