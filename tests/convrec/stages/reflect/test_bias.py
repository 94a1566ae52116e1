from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from convrec.stages.reflect.bias import (
    agreement_sums,
    bias_figures,
    bias_slope,
    pass_agreement,
    position_curve,
    position_effect,
    rating_sums,
    relative_position,
)


def rated(requests: int, shown: int, rating: object, seed: int = 0) -> pl.DataFrame:
    """Rate every candidate of some requests with `rating(position, length, noise)`."""
    rng = np.random.default_rng(seed)
    position = np.tile(np.arange(1, shown + 1), requests)
    lengths = rng.integers(5, 40, position.size)
    frame = pl.DataFrame(
        {
            "request": [f"r{i}" for i in range(requests) for _ in range(shown)],
            "position": position,
            "shown": np.full(position.size, shown),
            "length": lengths,
        }
    )
    moods = np.repeat(rng.normal(0, 2, requests), shown)  # requests differ in their mean rating
    values = rating(relative_position(frame), lengths, rng.normal(0, 0.5, position.size))  # type: ignore[operator]
    return frame.with_columns(rating=pl.Series(values + moods))


def test_relative_position_runs_from_0_to_1() -> None:
    frame = pl.DataFrame({"position": [1, 2, 3, 1], "shown": [3, 3, 3, 1]})
    assert relative_position(frame).tolist() == [0.0, 0.5, 1.0, 0.5]


def test_a_slope_by_hand() -> None:
    frame = pl.DataFrame(
        {
            "request": ["a", "a", "b", "b"],
            "position": [1, 2, 1, 2],
            "shown": [2, 2, 2, 2],
            "length": [9, 9, 9, 9],
            "rating": [2, 0, 1, -3],
        }
    )
    # Within a the rating falls by 2, within b by 4: the least-squares slope is -3.
    assert bias_slope("x", rating_sums(frame)).value == pytest.approx(-3.0)


def test_position_bias_is_estimated_and_subtracted() -> None:
    frame = rated(300, 20, lambda x, length, noise: -1.2 * x + noise)
    found = bias_slope("x", rating_sums(frame))
    assert found.low < -1.2 < found.high
    assert found.high - found.low < 0.2
    clean = frame.with_columns(
        rating=pl.col("rating")
        - pl.Series(position_effect(frame, position_curve(rating_sums(frame))))
    )
    assert abs(bias_slope("x", rating_sums(clean)).value) < 0.01
    assert clean["rating"].mean() == pytest.approx(frame["rating"].mean(), abs=0.05)


def test_a_preference_for_both_ends_is_estimated() -> None:
    frame = rated(300, 20, lambda x, length, noise: 2 * (x - 0.5) ** 2 + noise)
    assert abs(bias_slope("x", rating_sums(frame)).value) < 0.1
    curve = position_curve(rating_sums(frame))
    assert curve[1] == pytest.approx(2.0, abs=0.2)


def test_length_bias_is_per_ten_characters() -> None:
    frame = rated(200, 20, lambda x, length, noise: 0.03 * length + noise)
    assert bias_figures(rating_sums(frame))["length: ten characters more"].startswith("+0.3")
    fair = rated(200, 20, lambda x, length, noise: noise)
    low, high = (
        bias_figures(rating_sums(fair))["length: ten characters more"]
        .partition("[")[2][:-1]
        .split(", ")
    )
    assert float(low) <= 0 <= float(high)


def test_agreement_by_hand() -> None:
    judgments = pl.DataFrame({"ratings": [[1, 1], [-1, -1], [2, None], [0, 2], [0]]})
    found = pass_agreement(agreement_sums(judgments))
    assert found["passes agree: same rating"] == pytest.approx(2 / 3, abs=1e-4)
    # Observed disagreement (0, 0, 4)/3; expected over all nine pairs of {1,-1,0} and {1,-1,2}.
    expected = sum((a - b) ** 2 for a in (1, -1, 0) for b in (1, -1, 2)) / 9
    assert found["passes agree: kappa"] == pytest.approx(1 - (4 / 3) / expected, abs=1e-4)


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    frame = rated(30, 20, lambda x, length, noise: -1.2 * x + noise)
    parts = [rating_sums(frame[:200]), rating_sums(frame[200:])]
    added = {name: parts[0][name] + parts[1][name] for name in parts[0]}
    assert added == pytest.approx(rating_sums(frame))
    assert bias_figures(added) == bias_figures(rating_sums(frame))


def test_without_ratings_there_are_no_figures() -> None:
    schema = {"ratings": pl.List(pl.Int32)}
    unrated = pl.DataFrame({"ratings": [[None, None]]}, schema=schema)
    assert pass_agreement(agreement_sums(unrated)) == {}
    empty = rated(1, 2, lambda x, length, noise: noise).head(0)
    assert bias_figures(rating_sums(empty)) == {}
