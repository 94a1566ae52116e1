"""How good the model is while it trains: Recall and NDCG of lists that it writes on validation.

The lists are sampled as in training, with the same random numbers every time: two checkpoints
differ by their weights alone. What is measured is the `standard` protocol, not the reward. The best
weights by NDCG are kept, and training stops when they have not got better for `patience` looks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from convrec.config import Config
from convrec.metrics.bootstrap import Bootstrap
from convrec.metrics.protocols.standard import match_standard
from convrec.metrics.registry import ListToScore, ranking_metrics
from convrec.metrics.relevance import titled
from convrec.titles.index import TitleIndex
from convrec.training.checkpoint import latest, step_of
from convrec.training.metrics_log import MetricsLog

BEST = "ndcg@20"
"""The metric that decides."""

MEASURED = ("recall@20", BEST)
KEPT_LISTS = 4
"""Lists that are kept as samples at each look."""

Answer = Callable[[], list[str]]
"""Writes one list for each validation sample, with the model as it is."""


class Validation(TrainerCallback):
    """Looks at the model before training, every `every` steps and after the last one."""

    def __init__(
        self,
        samples: Sequence[Mapping[str, Any]],
        answer: Answer,
        index: TitleIndex,
        config: Config,
        record: MetricsLog,
    ) -> None:
        """`samples` are rows of the conversations table, in the order of `answer`."""
        self.samples = samples
        self.answer = answer
        self.index = index
        self.config = config
        self.record = record
        self._bootstrap = Bootstrap(
            [sample["context_id"] for sample in samples],
            resamples=config.evaluate.bootstrap,
            seed=config.seed,
        )

    @property
    def looks(self) -> list[tuple[int, float]]:
        """(step, NDCG) of every look so far."""
        return self.record.curve(f"validation_{BEST}")

    @property
    def best(self) -> tuple[int, float]:
        """The step after which NDCG was best, the first of equals, and what it was then."""
        return max(self.looks, key=lambda look: look[1])

    def on_train_begin(self, args: Any, state: Any, control: Any, **at: Any) -> None:
        """Look at the weights that training starts from."""
        if state.global_step == 0:
            self._look(0, at["model"])

    def on_log(self, args: Any, state: Any, control: Any, **at: Any) -> None:
        """Look after a step, and stop where nothing has got better for long."""
        step, settings = state.global_step, self.config.rank_grpo
        last = step == state.max_steps or control.should_training_stop
        if "loss" not in at["logs"] or not (step % settings.eval_every == 0 or last):
            return
        self._look(step, at["model"])
        since = [look for look, _ in self.looks if look > self.best[0]]
        if settings.patience and len(since) >= settings.patience:
            control.should_training_stop = True

    def restore(self, model: Any) -> None:
        """Put the best weights back into the model."""
        kept = load_file(self._weights(self.best[0]))
        for name, weight in model.named_parameters():
            if name in kept:
                weight.data.copy_(kept[name])

    def _look(self, step: int, model: Any) -> None:
        started = time.perf_counter()
        lists = self.answer()
        values, scores = self._measure(lists)
        values["seconds"] = time.perf_counter() - started
        self.record.add(step, {f"validation_{name}": value for name, value in values.items()})
        shown = zip(self.samples[:KEPT_LISTS], lists, scores, strict=False)
        self.record.sample(
            step,
            (
                {"context_id": sample["context_id"], "completion": text, BEST: float(score)}
                for sample, text, score in shown
            ),
        )
        if self.best[0] == step and self.record.writes:
            _save(model, self._weights(step))
            self._tidy()

    def _tidy(self) -> None:
        """Remove weights that neither this run nor one that goes on from a checkpoint asks for."""
        saved = step_of(latest(self.record.folder))
        until = [look for look in self.looks if look[0] <= saved]
        needed = {self.best[0], max(until, key=lambda look: look[1])[0]}
        for path in self.record.folder.glob("best-*.safetensors"):
            if path not in map(self._weights, needed):
                path.unlink()

    def _measure(self, lists: Sequence[str]) -> tuple[dict[str, float], Any]:
        """Means of metrics and rates, the deciding one's interval, and its value for each list."""
        asked = [
            ListToScore(text, titled(sample["seen"]), titled(sample["ground_truth"]))
            for sample, text in zip(self.samples, lists, strict=True)
        ]
        batch = match_standard(
            asked,
            self.index,
            n=self.config.list_length,
            years=self.config.line_format.years,
            form=self.config.line_format,
        )
        metrics = ranking_metrics(batch)
        figures = {**{name: metrics[name] for name in MEASURED}, **batch.rates}
        means = {name: float(value.mean()) for name, value in figures.items()}
        _, low, high = self._bootstrap.intervals(metrics[BEST][:, None])[0]
        return {**means, f"{BEST}_low": low, f"{BEST}_high": high}, metrics[BEST]

    def _weights(self, step: int) -> Path:
        return self.record.folder / f"best-{step}.safetensors"


def _save(model: Any, path: Path) -> None:
    """Write the weights that are trained, under another name first."""
    weights = {
        name: weight.detach().cpu().contiguous()
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }
    part = path.with_suffix(".part")
    save_file(weights, part)
    os.replace(part, path)
