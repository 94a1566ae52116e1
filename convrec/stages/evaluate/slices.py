"""Slices of the test set, to see for which samples a system is better.

ground truths        number of ground-truth items
conversation         length in words, in thirds of the test set
constraint           what a post asks for, if the format says so (see TAG_PATTERNS)
month                month of the post, if posts are dated
named in training    how often training answers name the wanted item (see `strata`)

A property with one value for all samples makes no slices. Small slices have wide intervals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from convrec.config import Config
from convrec.metrics import Bools
from convrec.stages.evaluate.evaluator import Evaluator, MetricRow, MetricValues
from convrec.stages.evaluate.samples import Sample, SampleList
from convrec.stages.evaluate.strata import Strata, stratum_values

SLICED_METRICS = ("ndcg@20", "recall@20")
CONSTRAINT = "constraint"
"""The property by which slices of kinds of posts are named."""

TAG_PATTERNS = {"demo": r"_\d+_([a-z-]+)$"}
"""Input format → regular expression whose group, found in `sample_id`, is the kind of a post.

A format whose ids say what a post asks for adds its pattern here. A post that it does not match is
in no slice of this property.
"""

_POOLED_FROM = 3
"""Samples with this many ground truths or more are one slice."""


def slice_masks(samples: Sequence[Sample], config: Config) -> dict[str, Bools]:
    """Return slice → (samples,) mask, with names such as "ground truths: 1", in order."""
    masks: dict[str, Bools] = {}
    for name, label in (
        ("ground truths", _truth_count),
        ("conversation", _length_label(samples)),
        (CONSTRAINT, _kind_label(config)),
        ("month", _month),
    ):
        labels = np.array([label(sample) for sample in samples])
        distinct = [x for x in np.unique(labels).tolist() if x]
        if len(distinct) > 1:
            masks |= {f"{name}: {x.lstrip()}": labels == x for x in distinct}
    return masks


def slice_rows(
    evaluator: Evaluator,
    lists: Sequence[SampleList],
    values: MetricValues,
    system: str,
    masks: Mapping[str, Bools],
    strata: Strata,
) -> list[MetricRow]:
    """Compute SLICED_METRICS of a system, whose `values` are those of `lists`, on every slice."""
    sliced = {name: values[name] for name in SLICED_METRICS}
    rows: list[MetricRow] = []
    for mask in masks.items():
        rows += evaluator.rows(sliced, system, None, "standard", mask)
    for name, truths in strata.items():
        inside = stratum_values(evaluator, lists, truths)
        if inside:
            of_stratum = {metric: inside[metric] for metric in SLICED_METRICS}
            everything = (name, np.ones(len(evaluator.samples), dtype=bool))
            rows += evaluator.rows(of_stratum, system, None, "standard", everything)
    return rows


def _kind_label(config: Config) -> Callable[[Sample], str]:
    pattern = TAG_PATTERNS.get(config.ingest.format)

    def label(sample: Sample) -> str:
        found = re.search(pattern, sample.sample_id) if pattern else None
        return found[1] if found else ""

    return label


def _truth_count(sample: Sample) -> str:
    size = len(sample.ground_truth)
    return str(size) if size < _POOLED_FROM else f"{_POOLED_FROM} or more"


def _length_label(samples: Sequence[Sample]) -> Callable[[Sample], str]:
    words = [len(sample.conversation.split()) for sample in samples]
    low, high = (int(x) for x in np.quantile(words, [1 / 3, 2 / 3]))

    def label(sample: Sample) -> str:
        size = len(sample.conversation.split())
        if size <= low:
            return f"  up to {low} words"  # leading spaces sort by length
        return f" {low + 1} to {high} words" if size <= high else f"over {high} words"

    return label


def _month(sample: Sample) -> str:
    if sample.created_utc is None:
        return ""
    return datetime.fromtimestamp(sample.created_utc, UTC).strftime("%Y-%m")
