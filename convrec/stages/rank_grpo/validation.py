"""Validation during training: Recall and NDCG of lists that the model generates on validation.

Lists are sampled with the same random numbers every time, so two evaluations differ by their
weights only. The metrics are those of the `standard` protocol at the list length N, at most 20; the
best weights have the highest NDCG@N.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import TrainerCallback

from convrec.config import Config
from convrec.metrics.bootstrap import Bootstrap
from convrec.metrics.protocols.standard import match_standard
from convrec.metrics.registry import RANKING_METRICS, list_cutoff
from convrec.metrics.relevance import titles_and_years
from convrec.metrics.scored_lists import ListToScore
from convrec.titles.index import TitleIndex
from convrec.training.best_weights import BestWeights, trained_weights
from convrec.training.metrics_log import MetricsLog

LOGGED_LISTS = 4
"""Lists that each evaluation writes to samples.jsonl."""


def best_metric(config: Config) -> str:
    """The metric that selects the best weights: `ndcg@20`, or `ndcg@N` of shorter lists."""
    return f"ndcg@{list_cutoff(config.list_length)}"


class Validation(TrainerCallback):
    """Evaluates before training, every `rank_grpo.eval_every` steps and after the last step."""

    def __init__(
        self,
        samples: Sequence[Mapping[str, Any]],
        generate: Callable[[], list[str]],
        index: TitleIndex,
        config: Config,
        metrics_log: MetricsLog,
        trained_weights: Callable[[Any], dict[str, Tensor]] = trained_weights,
    ) -> None:
        """`generate` returns a list for each of `samples`, rows of the conversations table.

        Every process calls both functions; the first one needs all of the trained weights.
        """
        self.samples = samples
        self.generate = generate
        self.index = index
        self.config = config
        self.metrics_log = metrics_log
        self.best_metric = best_metric(config)
        self.kept = BestWeights(
            metrics_log, f"validation_{self.best_metric}", collect=trained_weights
        )
        self._bootstrap = Bootstrap(
            [sample["context_id"] for sample in samples],
            resamples=config.evaluate.bootstrap,
            seed=config.seed,
        )

    @property
    def evaluations(self) -> list[tuple[int, float]]:
        """(step, NDCG) of each evaluation so far."""
        return self.kept.evaluations

    @property
    def best(self) -> tuple[int, float]:
        """(step, NDCG) of the best evaluation, the first of equals."""
        return self.kept.best

    def on_train_begin(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Evaluate the initial weights."""
        if state.global_step == 0:
            self._evaluate(0, context["model"])

    def on_log(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Evaluate after a step; stop training if NDCG has not improved for long."""
        step, settings = state.global_step, self.config.rank_grpo
        is_last = step == state.max_steps or control.should_training_stop
        if "loss" not in context["logs"] or not (step % settings.eval_every == 0 or is_last):
            return
        self._evaluate(step, context["model"])
        since_best = [evaluated for evaluated, _ in self.evaluations if evaluated > self.best[0]]
        if settings.patience and len(since_best) >= settings.patience:
            control.should_training_stop = True

    def _evaluate(self, step: int, model: Any) -> None:
        started = time.perf_counter()
        lists = self.generate()
        values, ndcg = self._score(lists)
        values["seconds"] = time.perf_counter() - started
        self.metrics_log.add_metrics(
            step, {f"validation_{name}": value for name, value in values.items()}
        )
        logged = zip(self.samples[:LOGGED_LISTS], lists, ndcg, strict=False)
        rows = (
            {"context_id": sample["context_id"], "completion": text, self.best_metric: float(value)}
            for sample, text, value in logged
        )
        self.metrics_log.add_samples(step, rows)
        self.kept.keep(step, model)

    def _score(self, lists: Sequence[str]) -> tuple[dict[str, float], NDArray[np.float64]]:
        """Mean metrics and list quality with the interval of NDCG; and the NDCG of each list."""
        to_score = [
            ListToScore(text, *(titles_and_years(row[key]) for key in ("seen", "ground_truth")))
            for row, text in zip(self.samples, lists, strict=True)
        ]
        n, line_format = self.config.list_length, self.config.line_format
        batch = match_standard(
            to_score, self.index, n=n, years=line_format.has_years, line_format=line_format
        )
        k = list_cutoff(n)
        metrics = {
            f"{name}@{k}": RANKING_METRICS[name].compute(batch, k) for name in ("recall", "ndcg")
        }
        means = {name: float(each.mean()) for name, each in {**metrics, **batch.quality}.items()}
        name, ndcg = self.best_metric, metrics[self.best_metric]
        _, low, high = self._bootstrap.intervals(ndcg[:, None])[0]
        return {**means, f"{name}_low": low, f"{name}_high": high}, ndcg
