"""Lists from a part of the method, and their metrics on fixed samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from convrec.metrics.bootstrap import Interval
from convrec.stages.adjust import DEMONSTRATIONS
from convrec.stages.base import StepContext
from convrec.stages.evaluate.evaluator import Evaluator, MetricValues
from convrec.stages.evaluate.samples import Sample, lists_by_context

ListTexts = Mapping[str, str]
"""Context → its list, one line an item."""


def build_lists(
    ctx: StepContext, roles: tuple[str, ...], frames: Mapping[str, pl.DataFrame]
) -> ListTexts:
    """Run the demonstrations step on catalog, conversations, the parents `roles` and `frames`."""
    shared = {"catalog", "conversations", *roles}
    parents = {role: ref for role, ref in ctx.parents.items() if role in shared}
    in_memory = {role: frame for role, frame in ctx.frames.items() if role in shared}
    step_ctx = StepContext(ctx.config, ctx.store, parents, frames={**in_memory, **frames})
    rows = DEMONSTRATIONS.build(step_ctx).rows
    return dict(rows.select("context_id", "completion").iter_rows())


class ListEvaluator:
    """Scores lists for fixed samples (`standard` protocol); intervals resample contexts."""

    def __init__(self, ctx: StepContext, samples: list[Sample]) -> None:
        self.samples = samples
        self._evaluator = Evaluator(samples, ctx.frame("catalog"), ctx.config)
        self._bootstrap = self._evaluator.bootstrap(np.ones(len(samples), dtype=bool))

    def values(self, texts: ListTexts) -> MetricValues:
        """Compute each metric by sample; a sample whose context has no list scores 0."""
        values = self._evaluator.values(lists_by_context(texts, self.samples), "standard")
        return {name: np.nan_to_num(by_sample) for name, by_sample in values.items()}

    def intervals(self, values: MetricValues, metrics: tuple[str, ...]) -> list[Interval]:
        """Compute the mean of each metric over the samples, with its confidence interval."""
        return self._bootstrap.intervals(np.column_stack([values[name] for name in metrics]))
