"""L-BFGS on the listwise loss, stopped early on validation.

The start is w = 1, b = 0, which counts as iteration 0: where no iterate has a lower validation
loss, it is what stays. Nothing is random, so the same data give the same parameters. BLAS keeps to
one thread: several add in another order, and wait for each other longer than they compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convrec.stages.adjust.loss import listwise_loss

if TYPE_CHECKING:
    import numpy as np

    from convrec.config import Adjust
    from convrec.stages.adjust.loss import Listwise
    from convrec.utils.progress import Progress


@dataclass(frozen=True)
class Fit:
    """Parameters = concat(w, b); the iteration they are of, how many ran, and why it ended."""

    parameters: np.ndarray
    kept: int
    iterations: int
    ended: str

    @property
    def weight(self) -> np.ndarray:
        """w, one a catalog item."""
        return self.parameters[: len(self.parameters) // 2]

    @property
    def bias(self) -> np.ndarray:
        """b, one a catalog item."""
        return self.parameters[len(self.parameters) // 2 :]


def start(count: int) -> np.ndarray:
    """w = 1 and b = 0 for `count` items: the lists as they are."""
    import numpy as np

    return np.concatenate([np.ones(count), np.zeros(count)])


def fit(
    train: Listwise,
    held_out: Listwise,
    count: int,
    settings: Adjust,
    progress: Progress | None = None,
) -> Fit:
    """The iterate with the lowest loss on `held_out`; the last one where `held_out` has no sample.

    `count` is the number of catalog items; `progress` is called after each iteration. The search
    ends after `settings.patience` iterations without a better one.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        watch = _Watch(held_out, count, settings, progress)
        done = minimize(
            listwise_loss,
            watch.best,
            args=(train, settings.pull, settings.bias_pull),
            jac=True,
            method="L-BFGS-B",
            callback=watch,
            options={"maxiter": settings.max_iterations},
        )
    if not held_out.samples:
        return Fit(done.x, watch.iteration, watch.iteration, _ended(done))
    ended = "validation no better" if watch.stopped else _ended(done)
    return Fit(watch.best, watch.kept, watch.iteration, ended)


def _ended(done: Any) -> str:
    return "converged" if done.success else "max_iterations"


class _Watch:
    """Called after each iteration: keeps the best, and stops the search when patience is out."""

    def __init__(
        self,
        held_out: Listwise,
        count: int,
        settings: Adjust,
        progress: Progress | None,
    ) -> None:
        self.held_out, self.settings, self.progress = held_out, settings, progress
        self.best = start(count)
        self.lowest = self._loss(self.best)
        self.kept = self.iteration = 0
        self.stopped = False

    def __call__(self, intermediate_result: Any) -> None:
        self.iteration += 1
        if self.progress:
            self.progress(self.iteration, self.settings.max_iterations, "fitting")
        loss = self._loss(intermediate_result.x)
        if loss < self.lowest:
            self.lowest, self.kept = loss, self.iteration
            self.best = intermediate_result.x.copy()
        elif self.held_out.samples and self.iteration - self.kept >= self.settings.patience:
            self.stopped = True
            raise StopIteration

    def _loss(self, parameters: np.ndarray) -> float:
        if not self.held_out.samples:
            return float("inf")
        return listwise_loss(parameters, self.held_out)[0]
