"""Lists that a part of the method would make, and what they are worth on the samples of a split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from convrec.metrics.bootstrap import Bootstrap, Interval
from convrec.stages.adjust import DEMONSTRATIONS
from convrec.stages.base import StepContext
from convrec.stages.evaluate.evaluator import Evaluator, Values
from convrec.stages.evaluate.samples import Sample, by_context

if TYPE_CHECKING:
    import polars as pl

Texts = Mapping[str, str]
"""Context → its list, one line an item."""


def demonstrations(
    ctx: StepContext, roles: tuple[str, ...], frames: Mapping[str, pl.DataFrame]
) -> Texts:
    """The lists that the demonstrations step makes of the parents `roles` and of `frames`."""
    shared = {"catalog", "conversations"} | set(roles)
    parents = {role: ref for role, ref in ctx.parents.items() if role in shared}
    given = {role: frame for role, frame in ctx.frames.items() if role in shared}
    made = DEMONSTRATIONS.build(
        StepContext(ctx.config, ctx.store, parents, frames={**given, **frames})
    )
    return dict(made.rows.select("context_id", "completion").iter_rows())


class ListEvaluator:
    """Measures lists of fixed samples, `standard` protocol, with intervals over contexts."""

    def __init__(self, ctx: StepContext, samples: list[Sample]) -> None:
        self.samples = samples
        self._measures = Evaluator(samples, ctx.frame("catalog"), ctx.config)
        self._bootstrap = Bootstrap(
            [sample.context_id for sample in samples],
            resamples=ctx.config.evaluate.bootstrap,
            seed=ctx.config.seed,
        )

    def values(self, texts: Texts) -> Values:
        """Metric → one value a sample; 0 where a context has no list: it recommends nothing."""
        found = self._measures.values(by_context(texts, self.samples), "standard")
        return {name: np.nan_to_num(values) for name, values in found.items()}

    def intervals(self, values: Values, metrics: tuple[str, ...]) -> list[Interval]:
        """The mean of each metric over the samples, with its interval."""
        return self._bootstrap.intervals(np.column_stack([values[name] for name in metrics]))
