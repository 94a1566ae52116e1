"""The posts that lists are made for, and the lists that a system made for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from convrec.metrics.relevance import Titled, titled

if TYPE_CHECKING:
    import polars as pl


class Sample(NamedTuple):
    """One answered post that is held out."""

    sample_id: str
    context_id: str
    seen: list[Titled]
    ground_truth: list[Titled]
    conversation: str = ""
    created_utc: int | None = None


class SampleList(NamedTuple):
    """A system's list for the sample at position `sample`."""

    sample: int
    completion: str


def held_out(conversations: pl.DataFrame, split: str = "test") -> list[Sample]:
    """The samples of a split that have a ground truth, in order."""
    rows = conversations.filter(conversations["split"] == split)
    columns = ("sample_id", "context_id", "seen", "ground_truth", "conversation", "created_utc")
    return [
        Sample(sample, context, titled(seen), titled(truth), said, created)
        for sample, context, seen, truth, said, created in rows.select(columns).iter_rows()
        if truth
    ]


def by_context(texts: Mapping[str, str], samples: list[Sample]) -> list[SampleList]:
    """The list of each sample's context, for the samples that have one."""
    return [
        SampleList(position, texts[sample.context_id])
        for position, sample in enumerate(samples)
        if sample.context_id in texts
    ]
