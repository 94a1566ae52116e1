"""Bias of the judge: do ratings depend on the candidate's position or on the title's length?

Candidates are shown in random order in every pass. So within a request, position is independent of
how well an item fits, and a regression of ratings on position, each request centered on its mean,
measures the bias; the same for length. The fitted curve of position can be subtracted
(`reflect.debias`). It is quadratic, because judges tend to favor both ends.

The paper does not correct its judge. Frames of ratings here have one row a rating: request, rating,
position (from 1) and shown (number of candidates in the request).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl


class BiasSlope(NamedTuple):
    """Change of a rating per unit of a cause, with its 95% confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def relative_position(ratings: pl.DataFrame) -> np.ndarray:
    """(ratings,) Position from 0 (first) to 1 (last); ½ for a single candidate."""
    position, shown = (ratings[name].cast(float).to_numpy() for name in ("position", "shown"))
    x: np.ndarray = np.where(shown > 1, (position - 1) / np.maximum(shown - 1, 1), 0.5)
    return x


def position_curve(ratings: pl.DataFrame) -> np.ndarray:
    """(2,) Fitted c₁ and c₂ of c₁·x + c₂·x², the effect of relative position x; 0 without data."""
    x = relative_position(ratings)
    design = np.stack([_center_by_request(power, ratings) for power in (x, x**2)], axis=1)
    target = _center_by_request(ratings["rating"].to_numpy().astype(float), ratings)
    curve: np.ndarray = np.linalg.lstsq(design, target, rcond=None)[0]
    return curve


def position_effect(ratings: pl.DataFrame, curve: np.ndarray) -> np.ndarray:
    """(ratings,) Effect of the position on each rating; 0 on average over x in [0, 1]."""
    x = relative_position(ratings)
    effect: np.ndarray = curve[0] * (x - 1 / 2) + curve[1] * (x**2 - 1 / 3)
    return effect


def bias_slope(cause: np.ndarray, ratings: pl.DataFrame) -> BiasSlope:
    """Estimate the linear effect of `cause`, (ratings,), within requests."""
    x = _center_by_request(cause, ratings)
    y = _center_by_request(ratings["rating"].to_numpy().astype(float), ratings)
    weight = float(x @ x)
    if weight <= 0:
        return BiasSlope(0.0, 0.0, 0.0)
    value = float(x @ y) / weight
    freedom = max(1, len(x) - ratings["request"].n_unique() - 1)
    error = 1.96 * float(np.sqrt(((y - value * x) ** 2).sum() / freedom / weight))
    return BiasSlope(value, value - error, value + error)


def pass_agreement(judgments: pl.DataFrame) -> dict[str, float]:
    """Agreement of the first two passes on the same pairs; empty with one pass.

    Kappa is Cohen's with quadratic weights: 1 is perfect agreement, 0 that of chance.
    """
    both = judgments.select(
        one=pl.col("ratings").list.get(0, null_on_oob=True),
        two=pl.col("ratings").list.get(1, null_on_oob=True),
    ).drop_nulls()
    if both.is_empty():
        return {}
    one, two = both["one"].to_numpy().astype(float), both["two"].to_numpy().astype(float)
    expected = one.var() + two.var() + (one.mean() - two.mean()) ** 2
    observed = float(((one - two) ** 2).mean())
    return {
        "passes agree: kappa": round(1 - observed / float(expected), 4) if expected else 1.0,
        "passes agree: same rating": round(float((one == two).mean()), 4),
    }


def bias_figures(ratings: pl.DataFrame) -> dict[str, str]:
    """Effects of position and of `length`, the characters of the candidate's line."""
    if ratings.is_empty():
        return {}
    x = relative_position(ratings)
    thirds = ratings.with_columns(third=(x * 3).clip(0, 2.999).astype(int)).group_by("third")
    means = thirds.agg(mean=pl.col("rating").mean()).sort("third")["mean"]
    length = ratings["length"].to_numpy() / 10
    return {
        "position: last against first": str(bias_slope(x, ratings)),
        "position: mean rating by thirds": ", ".join(f"{mean:+.3f}" for mean in means),
        "length: ten characters more": str(bias_slope(length, ratings)),
    }


def _center_by_request(values: np.ndarray, ratings: pl.DataFrame) -> np.ndarray:
    """(ratings,) Values minus the mean of their request."""
    frame = ratings.select("request").with_columns(value=pl.Series(values))
    centered = pl.col("value") - pl.col("value").mean().over("request")
    result: np.ndarray = frame.select(centered).to_series().to_numpy()
    return result
