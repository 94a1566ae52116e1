"""A few test conversations with every system's list beside them, each line judged."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from convrec.metrics.relevance import list_lines, match_lines

if TYPE_CHECKING:
    from convrec.stages.base import StepContext
    from convrec.stages.evaluate.samples import Sample, SampleList
    from convrec.titles.index import TitleIndex
    from convrec.titles.line_format import LineFormat

EXAMPLES = 4


class ExampleLine(NamedTuple):
    """One line of a list and its mark: hit, seen, repeat, outside, or nothing."""

    text: str
    mark: str


class Example(NamedTuple):
    """A test conversation, what was wanted, and the lists by system."""

    sample_id: str
    conversation: str
    wanted: list[str]
    lists: dict[str, list[ExampleLine]]


def chosen(samples: list[Sample], seed: int) -> list[Sample]:
    """EXAMPLES samples, picked by the run's seed alone."""
    return random.Random(seed).sample(samples, min(EXAMPLES, len(samples)))


def examples(
    ctx: StepContext,
    samples: list[Sample],
    lists: dict[str, list[SampleList]],
    index: TitleIndex,
) -> list[Example]:
    """The samples with the lists of each system; of several draws the first is shown."""
    said = dict(ctx.frame("conversations").select("sample_id", "conversation").iter_rows())
    form = ctx.config.line_format
    first = {
        system: {x.sample: x.completion for x in reversed(made)} for system, made in lists.items()
    }
    return [
        Example(
            sample.sample_id,
            said[sample.sample_id],
            [form.format(*truth) for truth in sample.ground_truth],
            {
                system: _marked(texts[at], sample, index, form)
                for system, texts in first.items()
                if at in texts
            },
        )
        for at, sample in enumerate(samples)
    ]


def _marked(text: str, sample: Sample, index: TitleIndex, form: LineFormat) -> list[ExampleLine]:
    lines = list_lines(text)
    judged = match_lines(lines, index, sample.seen, sample.ground_truth, form)
    return [ExampleLine(line, found.mark) for line, found in zip(lines, judged, strict=True)]
