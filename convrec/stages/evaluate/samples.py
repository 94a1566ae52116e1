"""Samples of the held-out splits, and the lists of a system for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from convrec.metrics.relevance import TitleAndYear, titles_and_years
from convrec.stages.base import StepContext
from convrec.stages.catalog_titles import read_split

SAMPLE_COLUMNS = (
    "split",
    "sample_id",
    "context_id",
    "seen",
    "ground_truth",
    "conversation",
    "created_utc",
)
"""Columns of the conversations that a Sample is made of."""


class Sample(NamedTuple):
    """One answered post of a held-out split."""

    sample_id: str
    context_id: str
    seen: list[TitleAndYear]
    ground_truth: list[TitleAndYear]
    conversation: str = ""
    created_utc: int | None = None


class SampleList(NamedTuple):
    """A system's list for the sample with index `sample`."""

    sample: int
    completion: str


def held_out_samples(conversations: pl.DataFrame, split: str = "test") -> list[Sample]:
    """Return the samples of a split that have a ground truth, in order; with SAMPLE_COLUMNS."""
    rows = conversations.filter(conversations["split"] == split).select(SAMPLE_COLUMNS)
    return [
        Sample(
            sample, context, titles_and_years(seen), titles_and_years(truth), conversation, created
        )
        for _, sample, context, seen, truth, conversation, created in rows.iter_rows()
        if truth
    ]


def read_samples(ctx: StepContext, split: str = "test") -> list[Sample]:
    """Return the samples of a split with the titles of the catalog, without reading the others."""
    return held_out_samples(read_split(ctx, split, *SAMPLE_COLUMNS), split)


def lists_by_context(texts: Mapping[str, str], samples: list[Sample]) -> list[SampleList]:
    """Give each sample the list of its context; samples whose context has no list are left out."""
    return [
        SampleList(index, texts[sample.context_id])
        for index, sample in enumerate(samples)
        if sample.context_id in texts
    ]
