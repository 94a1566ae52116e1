from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from convrec.config import Adjust
from convrec.stages.adjust.fit import fit_parameters, initial_parameters
from convrec.stages.adjust.loss import ListBlock, ListwiseData, listwise_loss

FREE = Adjust(pull=0.01, bias_pull=0.01, patience=3)


def lists(favorite: int, count: int = 4) -> ListwiseData:
    """Every list holds items 0, 1, 2; the ground truth is always `favorite`."""
    return ListwiseData(
        [
            ListBlock(
                items=np.tile([0, 1, 2], count),
                scores=np.tile([0.3, 0.2, 0.1], count),
                target=np.tile(np.eye(3)[favorite], count),
                starts=np.arange(count) * 3,
            )
        ],
        count,
    )


EMPTY = ListwiseData([], 0)


def mixed() -> ListwiseData:
    """The ground truth of two lists in five is item 2, of three item 1."""
    target = np.eye(3)[[2, 2, 1, 1, 1]]
    return ListwiseData(
        [
            ListBlock(
                items=np.tile([0, 1, 2], 5),
                scores=np.tile([0.3, 0.2, 0.1], 5),
                target=target.ravel(),
                starts=np.arange(5) * 3,
            )
        ],
        5,
    )


def test_the_best_iterate_on_validation_is_kept() -> None:
    train, held_out = lists(2), mixed()
    early = fit_parameters(train, held_out, 3, FREE)
    late = fit_parameters(train, EMPTY, 3, FREE)
    assert early.stop_reason == "validation no better"
    assert early.iterations == early.best_iteration + FREE.patience
    best = listwise_loss(early.parameters, held_out)[0]
    assert best < listwise_loss(late.parameters, held_out)[0]
    assert best <= listwise_loss(initial_parameters(3), held_out)[0]


def test_the_initial_point_is_kept_if_nothing_is_better() -> None:
    result = fit_parameters(lists(2), lists(0), 3, FREE)
    assert result.best_iteration == 0
    assert result.iterations == FREE.patience
    assert result.weight.tolist() == [1, 1, 1]
    assert result.bias.tolist() == [0, 0, 0]


def test_without_validation_it_runs_to_the_optimum() -> None:
    result = fit_parameters(lists(2), EMPTY, 3, FREE)
    assert result.stop_reason == "converged"
    assert result.best_iteration == result.iterations
    gradient = listwise_loss(result.parameters, lists(2), FREE.pull, FREE.bias_pull)[1]
    assert np.abs(gradient).max() < 1e-4


def test_an_item_without_evidence_is_unchanged() -> None:
    result = fit_parameters(lists(2), EMPTY, 5, FREE)
    assert result.weight[3:].tolist() == [1, 1]
    assert result.bias[3:].tolist() == [0, 0]


def test_max_iterations_stop_the_search() -> None:
    result = fit_parameters(lists(2), EMPTY, 3, Adjust(pull=0, bias_pull=0, max_iterations=2))
    assert (result.iterations, result.stop_reason) == (2, "max_iterations")


def test_progress_is_reported() -> None:
    calls: list[tuple[int, int, str]] = []
    fit_parameters(lists(2), EMPTY, 3, FREE, lambda *call: calls.append(call))
    assert calls[0] == (1, FREE.max_iterations, "fitting")


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    count, length, catalog = 2000, 50, 20_000
    items = rng.integers(catalog, size=(count, length))
    target = np.zeros(items.shape)
    target[np.arange(count), (items % 97).argmin(axis=1)] = 1
    many = ListBlock(
        items.ravel(), rng.random(items.size), target.ravel(), np.arange(count) * length
    )
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            result = fit_parameters(
                ListwiseData([many], count), EMPTY, catalog, Adjust(max_iterations=9)
            )
        found.append(result.parameters)
    assert np.array_equal(found[0], found[1])
