"""Validation during training: Recall and NDCG of lists that the model generates on validation.

Lists are sampled with the same random numbers every time, so two evaluations differ by their
weights only. The metrics are those of the `standard` protocol, not the reward.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from convrec.config import Config
from convrec.metrics.bootstrap import Bootstrap
from convrec.metrics.protocols.standard import match_standard
from convrec.metrics.registry import ranking_metrics
from convrec.metrics.relevance import titles_and_years
from convrec.metrics.scored_lists import ListToScore
from convrec.titles.index import TitleIndex
from convrec.training.checkpoint import latest_checkpoint, step_of
from convrec.training.metrics_log import MetricsLog
from convrec.utils.files import atomic_path

BEST_METRIC = "ndcg@20"
"""The metric that selects the best weights."""

LOGGED_METRICS = ("recall@20", BEST_METRIC)

LOGGED_LISTS = 4
"""Lists that each evaluation writes to samples.jsonl."""


class Validation(TrainerCallback):
    """Evaluates before training, every `rank_grpo.eval_every` steps and after the last step."""

    def __init__(
        self,
        samples: Sequence[Mapping[str, Any]],
        generate: Callable[[], list[str]],
        index: TitleIndex,
        config: Config,
        metrics_log: MetricsLog,
    ) -> None:
        """`generate` returns a list for each of `samples`, rows of the conversations table."""
        self.samples = samples
        self.generate = generate
        self.index = index
        self.config = config
        self.metrics_log = metrics_log
        self._bootstrap = Bootstrap(
            [sample["context_id"] for sample in samples],
            resamples=config.evaluate.bootstrap,
            seed=config.seed,
        )

    @property
    def evaluations(self) -> list[tuple[int, float]]:
        """(step, NDCG) of each evaluation so far."""
        return self.metrics_log.curve(f"validation_{BEST_METRIC}")

    @property
    def best(self) -> tuple[int, float]:
        """(step, NDCG) of the best evaluation, the first of equals."""
        return _best(self.evaluations)

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

    def restore_best(self, model: Any) -> None:
        """Load the best weights into the model."""
        best = load_file(self._weights_path(self.best[0]))
        for name, weight in model.named_parameters():
            if name in best:
                weight.data.copy_(best[name])

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
            {"context_id": sample["context_id"], "completion": text, BEST_METRIC: float(value)}
            for sample, text, value in logged
        )
        self.metrics_log.add_samples(step, rows)
        if self.best[0] == step and self.metrics_log.is_writer:
            weights = {
                name: weight.detach().cpu().contiguous()
                for name, weight in model.named_parameters()
                if weight.requires_grad
            }
            with atomic_path(self._weights_path(step)) as part:
                save_file(weights, part)
            self._delete_unneeded_weights()

    def _delete_unneeded_weights(self) -> None:
        """Delete weights that neither this run nor a run resumed from the checkpoint needs."""
        saved_step = step_of(latest_checkpoint(self.metrics_log.folder))
        until_saved = [evaluation for evaluation in self.evaluations if evaluation[0] <= saved_step]
        needed = {self.best[0], _best(until_saved)[0]}
        for path in self.metrics_log.folder.glob("best-*.safetensors"):
            if path not in map(self._weights_path, needed):
                path.unlink()

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
        metrics = ranking_metrics(batch)
        by_name = {**{name: metrics[name] for name in LOGGED_METRICS}, **batch.quality}
        means = {name: float(values.mean()) for name, values in by_name.items()}
        ndcg = metrics[BEST_METRIC]
        _, low, high = self._bootstrap.intervals(ndcg[:, None])[0]
        return {**means, f"{BEST_METRIC}_low": low, f"{BEST_METRIC}_high": high}, ndcg

    def _weights_path(self, step: int) -> Path:
        return self.metrics_log.folder / f"best-{step}.safetensors"


def _best(evaluations: Sequence[tuple[int, float]]) -> tuple[int, float]:
    return max(evaluations, key=lambda evaluation: evaluation[1])
