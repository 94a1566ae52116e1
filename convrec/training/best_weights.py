"""The weights of the best validation so far, next to the metrics log that selects them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from convrec.models.load import Student, save_student
from convrec.models.progress_bars import hide_progress_bars
from convrec.training.checkpoint import latest_checkpoint, step_of
from convrec.training.fsdp import gather_weights
from convrec.training.metrics_log import MetricsLog
from convrec.training.model_options import restore_float32
from convrec.utils.distributed import is_first, is_sharded
from convrec.utils.files import atomic_path

Evaluation = tuple[int, float]
"""A step, and the value of the metric after it."""


def trained_weights(model: Any) -> dict[str, Tensor]:
    """Copies of the weights that are trained, by name, in main memory."""
    return {
        name: weight.detach().cpu().contiguous()
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }


class BestWeights:
    """Keeps the trained weights of the best evaluation, the first of equals.

    `curve` is the metric in `metrics_log`; the highest value is the best, or the `lowest`. All
    processes must call `keep` at the same time, with the same values in their logs; the first one
    writes what `collect` returns there. A run that resumes finds the weights that it had kept.
    """

    def __init__(
        self,
        metrics_log: MetricsLog,
        curve: str,
        *,
        lowest: bool = False,
        collect: Callable[[Any], dict[str, Tensor]] = trained_weights,
    ) -> None:
        self.metrics_log = metrics_log
        self.curve = curve
        self._sign = -1 if lowest else 1
        self._collect = collect

    @property
    def evaluations(self) -> list[Evaluation]:
        """All evaluations so far."""
        return self.metrics_log.curve(self.curve)

    @property
    def best(self) -> Evaluation:
        """The best evaluation so far."""
        return self._best(self.evaluations)

    def keep(self, step: int, model: Any) -> None:
        """Save the model's weights if the evaluation of this step is the best so far."""
        if self.best[0] != step:
            return
        weights = self._collect(model)
        if self.metrics_log.is_writer:
            with atomic_path(self._path(step)) as part:
                save_file(weights, part)
            self._delete_unneeded()

    def load(self) -> dict[str, Tensor]:
        """The best weights, by name."""
        return load_file(self._path(self.best[0]))

    def restore(self, model: Any) -> None:
        """Load the best weights into a model that is not sharded."""
        best = self.load()
        for name, weight in model.named_parameters():
            if name in best:
                weight.data.copy_(best[name])

    def _best(self, evaluations: Sequence[Evaluation]) -> Evaluation:
        return max(evaluations, key=lambda evaluation: self._sign * evaluation[1])

    def _delete_unneeded(self) -> None:
        """Delete weights that neither this run nor a run resumed from the checkpoint needs."""
        saved_step = step_of(latest_checkpoint(self.metrics_log.folder))
        needed = [self.best]
        if until_saved := [made for made in self.evaluations if made[0] <= saved_step]:
            needed.append(self._best(until_saved))
        paths = [self._path(step) for step, _ in needed]
        for path in self.metrics_log.folder.glob("best-*.safetensors"):
            if path not in paths:
                path.unlink()

    def _path(self, step: int) -> Path:
        return self.metrics_log.folder / f"best-{step}.safetensors"


def collector(trainer: Any) -> Callable[[Any], dict[str, Tensor]]:
    """How to collect the trained weights of this training, sharded or not."""
    return (lambda model: gather_weights(trainer)) if is_sharded() else trained_weights


def save_trained(trainer: Any, best: BestWeights | None, tokenizer: Any, out: Path) -> None:
    """Save the best weights, or the last ones, with adapters merged; all processes must call this.

    The first one writes.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    weights = gather_weights(trainer) if is_sharded() and best is None else {}
    if not is_first():
        return
    out.mkdir(parents=True, exist_ok=True)
    if is_sharded():
        with hide_progress_bars():
            model.save_pretrained(out, state_dict=best.load() if best else weights)
        tokenizer.save_pretrained(out)
        return
    if best is not None:
        best.restore(model)
    restore_float32(model)
    save_student(Student(model, tokenizer), out)
