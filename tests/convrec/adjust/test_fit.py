from __future__ import annotations

import numpy as np
from scipy.optimize import check_grad

from convrec.adjust.fit import Listwise, listwise_loss


def two_lists() -> Listwise:
    return Listwise(
        items=np.array([[0, 1, 2], [1, 2, 0]]),
        scores=np.array([[0.5, 1.0, 0.2], [0.3, 0.9, -np.inf]]),
        target=np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]),
    )


def test_the_loss_is_the_listwise_softmax_cross_entropy() -> None:
    start = np.array([1.0, 1, 1, 0, 0, 0])
    first = -np.log(np.exp(0.5) / (np.exp(0.5) + np.exp(1.0) + np.exp(0.2)))
    total = np.exp(0.3) + np.exp(0.9)
    second = -0.5 * (np.log(np.exp(0.3) / total) + np.log(np.exp(0.9) / total))
    loss, _ = listwise_loss(start, two_lists(), 3, pull=0.0)
    assert np.isclose(loss, (first + second) / 2)


def test_the_gradient_is_right() -> None:
    point = np.random.default_rng(0).normal(size=6)
    data = two_lists()
    error = check_grad(
        lambda x: listwise_loss(x, data, 3, 0.7)[0],
        lambda x: listwise_loss(x, data, 3, 0.7)[1],
        point,
    )
    assert error < 1e-6


def test_the_pull_is_towards_weight_one_and_bias_zero() -> None:
    moved = np.array([1.0, 1, 2, 0, 0, 1])
    data = two_lists()
    with_pull, _ = listwise_loss(moved, data, 3, pull=1.0)
    without, _ = listwise_loss(moved, data, 3, pull=0.0)
    assert np.isclose(with_pull - without, (1.0 + 1.0) / 2)
