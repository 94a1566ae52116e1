"""L-BFGS on the listwise loss, with early stopping on validation.

The initial point w = 1, b = 0 (lists unchanged) is iteration 0 and is kept unless a later iterate
has a lower validation loss. Nothing is random. BLAS runs on one thread: with several, sums are
added in another order, and threads wait longer than they compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from convrec.config import Adjust
from convrec.stages.adjust.loss import ListwiseData, listwise_loss
from convrec.utils.progress import Progress, no_progress


@dataclass(frozen=True)
class FitResult:
    """The fitted parameters, (2 · items,) concat(w, b), and how the search ended.

    They are from iteration `best_iteration` (0: the initial point) of `iterations`.
    """

    parameters: np.ndarray
    best_iteration: int
    iterations: int
    stop_reason: str

    @property
    def weight(self) -> np.ndarray:
        """(items,) w."""
        return self.parameters[: len(self.parameters) // 2]

    @property
    def bias(self) -> np.ndarray:
        """(items,) b."""
        return self.parameters[len(self.parameters) // 2 :]


def initial_parameters(count: int) -> np.ndarray:
    """(2 · count,) w = 1 and b = 0: the lists unchanged."""
    return np.concatenate([np.ones(count), np.zeros(count)])


def fit_parameters(
    train: ListwiseData,
    validation: ListwiseData,
    count: int,
    settings: Adjust,
    progress: Progress = no_progress,
) -> FitResult:
    """Find the iterate with the lowest validation loss; the last one without validation samples.

    `count` is the number of catalog items. The search ends after `settings.patience` iterations
    without a lower validation loss.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        stopping = _EarlyStopping(validation, count, settings, progress)
        result = minimize(
            listwise_loss,
            stopping.best,
            args=(train, settings.pull, settings.bias_pull),
            jac=True,
            method="L-BFGS-B",
            callback=stopping,
            options={"maxiter": settings.max_iterations},
        )
    reason = "converged" if result.success else "max_iterations"
    if not validation.samples:
        return FitResult(result.x, stopping.iteration, stopping.iteration, reason)
    if stopping.stopped:
        reason = "validation no better"
    return FitResult(stopping.best, stopping.best_iteration, stopping.iteration, reason)


class _EarlyStopping:
    """SciPy callback that keeps the best iterate and raises StopIteration when patience ends."""

    def __init__(
        self, validation: ListwiseData, count: int, settings: Adjust, progress: Progress
    ) -> None:
        self._validation, self._settings, self._progress = validation, settings, progress
        self.best = initial_parameters(count)
        self._lowest = self._loss(self.best)
        self.best_iteration = self.iteration = 0
        self.stopped = False

    def __call__(self, intermediate_result: Any) -> None:
        self.iteration += 1
        self._progress(self.iteration, self._settings.max_iterations, "fitting")
        loss = self._loss(intermediate_result.x)
        without_gain = self.iteration - self.best_iteration
        if loss < self._lowest:
            self._lowest, self.best_iteration = loss, self.iteration
            self.best = intermediate_result.x.copy()
        elif self._validation.samples and without_gain >= self._settings.patience:
            self.stopped = True
            raise StopIteration

    def _loss(self, parameters: np.ndarray) -> float:
        if not self._validation.samples:
            return float("inf")
        return listwise_loss(parameters, self._validation)[0]
