from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from convrec.config import Adjust
from convrec.stages.adjust.loss import Lists, Listwise, listwise_loss
from convrec.stages.adjust.optimise import fit, start

FREE = Adjust(pull=0.01, bias_pull=0.01, patience=3)


def lists(favourite: int, count: int = 4) -> Listwise:
    """Every list holds items 0, 1, 2; the ground truth is always `favourite`."""
    return Listwise(
        [
            Lists(
                items=np.tile([0, 1, 2], count),
                scores=np.tile([0.3, 0.2, 0.1], count),
                target=np.tile(np.eye(3)[favourite], count),
                starts=np.arange(count) * 3,
            )
        ],
        count,
    )


NOBODY = Listwise([], 0)


def mixed() -> Listwise:
    """Two lists in five want item 2, three want item 1."""
    wanted = np.eye(3)[[2, 2, 1, 1, 1]]
    return Listwise(
        [
            Lists(
                items=np.tile([0, 1, 2], 5),
                scores=np.tile([0.3, 0.2, 0.1], 5),
                target=wanted.ravel(),
                starts=np.arange(5) * 3,
            )
        ],
        5,
    )


def test_the_best_iterate_on_validation_is_kept() -> None:
    train, held_out = lists(2), mixed()
    early = fit(train, held_out, 3, FREE)
    late = fit(train, NOBODY, 3, FREE)
    assert early.ended == "validation no better"
    assert early.iterations == early.kept + FREE.patience
    best = listwise_loss(early.parameters, held_out)[0]
    assert best < listwise_loss(late.parameters, held_out)[0]
    assert best <= listwise_loss(start(3), held_out)[0]


def test_the_start_stays_where_nothing_helps() -> None:
    made = fit(lists(2), lists(0), 3, FREE)
    assert made.kept == 0
    assert made.iterations == FREE.patience
    assert made.weight.tolist() == [1, 1, 1]
    assert made.bias.tolist() == [0, 0, 0]


def test_without_validation_it_runs_to_the_one_optimum() -> None:
    made = fit(lists(2), NOBODY, 3, FREE)
    assert made.ended == "converged"
    assert made.kept == made.iterations
    gradient = listwise_loss(made.parameters, lists(2), FREE.pull, FREE.bias_pull)[1]
    assert np.abs(gradient).max() < 1e-4


def test_an_item_without_evidence_stays_as_it_is() -> None:
    made = fit(lists(2), NOBODY, 5, FREE)
    assert made.weight[3:].tolist() == [1, 1]
    assert made.bias[3:].tolist() == [0, 0]


def test_max_iterations_end_it() -> None:
    made = fit(lists(2), NOBODY, 3, Adjust(pull=0, bias_pull=0, max_iterations=2))
    assert (made.iterations, made.ended) == (2, "max_iterations")


def test_progress_is_reported() -> None:
    told: list[tuple[int, int, str]] = []
    fit(lists(2), NOBODY, 3, FREE, lambda *what: told.append(what))
    assert told[0] == (1, FREE.max_iterations, "fitting")


def test_the_number_of_threads_changes_no_bit() -> None:
    rng = np.random.default_rng(0)
    count, long, catalog = 2000, 50, 20_000
    items = rng.integers(catalog, size=(count, long))
    target = np.zeros(items.shape)
    target[np.arange(count), (items % 97).argmin(axis=1)] = 1
    many = Lists(items.ravel(), rng.random(items.size), target.ravel(), np.arange(count) * long)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            made = fit(Listwise([many], count), NOBODY, catalog, Adjust(max_iterations=9))
        found.append(made.parameters)
    assert np.array_equal(found[0], found[1])
