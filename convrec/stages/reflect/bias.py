"""Bias of the judge: do ratings depend on the candidate's position or on the title's length?

Candidates are shown in random order in every pass. So within a request, position is independent of
how well an item fits, and a regression of ratings on position, each request centered on its mean,
measures the bias; the same for length. The fitted curve of position can be subtracted
(`reflect.debias`). It is quadratic, because judges tend to favor both ends.

The paper does not correct its judge. Frames of ratings here have one row a rating: request, rating,
position (from 1), shown (number of candidates in the request) and length (characters of the
candidate's line). All that is computed follows from sums (`rating_sums`, `agreement_sums`), which
are added up over the parts of an artifact; a request is in one part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

Sums = Mapping[str, float]

PRODUCTS = ("xx", "xq", "qq", "ll", "xy", "qy", "ly", "yy")
"""Products of two values, each centered on its request: x is the relative position, q its square, l
the length / 10, y the rating."""


class BiasSlope(NamedTuple):
    """Change of a rating per unit of a cause, with its 95% confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def rating_sums(ratings: pl.DataFrame) -> dict[str, float]:
    """The sums that the curve of position and `bias_figures` need.

    `ratings` and `requests` are counts; a name of two letters is the sum of one of the PRODUCTS.
    `third N` is the number of ratings in that third of positions, `third N rating` their sum.
    """
    x, y = relative_position(ratings), ratings["rating"].to_numpy().astype(float)
    values = {"x": x, "q": x**2, "l": ratings["length"].to_numpy() / 10, "y": y}
    centered = {name: _center_by_request(value, ratings) for name, value in values.items()}
    third = np.clip(x * 3, 0, 2.999).astype(int)
    counts, totals = (np.bincount(third, weights, minlength=3) for weights in (None, y))
    return {
        "ratings": float(len(y)),
        "requests": float(ratings["request"].n_unique()),
        **{name: float(centered[name[0]] @ centered[name[1]]) for name in PRODUCTS},
        **{f"third {number}": float(count) for number, count in enumerate(counts)},
        **{f"third {number} rating": float(total) for number, total in enumerate(totals)},
    }


def relative_position(ratings: pl.DataFrame) -> np.ndarray:
    """(ratings,) Position from 0 (first) to 1 (last); ½ for a single candidate."""
    position, shown = (ratings[name].cast(float).to_numpy() for name in ("position", "shown"))
    x: np.ndarray = np.where(shown > 1, (position - 1) / np.maximum(shown - 1, 1), 0.5)
    return x


def position_curve(sums: Sums) -> np.ndarray:
    """(2,) Fitted c₁ and c₂ of c₁·x + c₂·x², the effect of relative position x; 0 without data."""
    products = np.array([[sums["xx"], sums["xq"]], [sums["xq"], sums["qq"]]])
    curve: np.ndarray = np.linalg.lstsq(products, [sums["xy"], sums["qy"]], rcond=None)[0]
    return curve


def position_effect(ratings: pl.DataFrame, curve: np.ndarray) -> np.ndarray:
    """(ratings,) Effect of the position on each rating; 0 on average over x in [0, 1]."""
    x = relative_position(ratings)
    effect: np.ndarray = curve[0] * (x - 1 / 2) + curve[1] * (x**2 - 1 / 3)
    return effect


def bias_slope(cause: str, sums: Sums) -> BiasSlope:
    """Estimate the linear effect of `cause`, `x` or `l`, within requests."""
    weight, product = sums[cause * 2], sums[f"{cause}y"]
    if weight <= 0:
        return BiasSlope(0.0, 0.0, 0.0)
    value = product / weight
    freedom = max(1.0, sums["ratings"] - sums["requests"] - 1)
    residual = max(0.0, sums["yy"] - value * product)
    error = 1.96 * float(np.sqrt(residual / freedom / weight))
    return BiasSlope(value, value - error, value + error)


def bias_figures(sums: Sums) -> dict[str, str]:
    """Effects of position and of length; empty without ratings."""
    if not sums["ratings"]:
        return {}
    thirds = [(sums[f"third {number}"], sums[f"third {number} rating"]) for number in range(3)]
    return {
        "position: last against first": str(bias_slope("x", sums)),
        "position: mean rating by thirds": ", ".join(
            f"{total / count:+.3f}" for count, total in thirds if count
        ),
        "length: ten characters more": str(bias_slope("l", sums)),
    }


def agreement_sums(judgments: pl.DataFrame) -> dict[str, float]:
    """Sums over the pairs that the first two passes have rated, for `pass_agreement`."""
    both = judgments.select(
        one=pl.col("ratings").list.get(0, null_on_oob=True),
        two=pl.col("ratings").list.get(1, null_on_oob=True),
    ).drop_nulls()
    one, two = both["one"].to_numpy().astype(float), both["two"].to_numpy().astype(float)
    return {
        "both": float(len(one)),
        "first": float(one.sum()),
        "second": float(two.sum()),
        "first²": float(one @ one),
        "second²": float(two @ two),
        "difference²": float(((one - two) ** 2).sum()),
        "same": float((one == two).sum()),
    }


def pass_agreement(sums: Sums) -> dict[str, float]:
    """Agreement of the first two passes on the same pairs; empty with one pass.

    Kappa is Cohen's with quadratic weights: 1 is perfect agreement, 0 that of chance.
    """
    count = sums["both"]
    if not count:
        return {}
    one, two = sums["first"] / count, sums["second"] / count
    variances = sums["first²"] / count - one**2 + sums["second²"] / count - two**2
    expected, observed = variances + (one - two) ** 2, sums["difference²"] / count
    return {
        "passes agree: kappa": round(1 - observed / expected, 4) if expected > 0 else 1.0,
        "passes agree: same rating": round(sums["same"] / count, 4),
    }


def _center_by_request(values: np.ndarray, ratings: pl.DataFrame) -> np.ndarray:
    """(ratings,) Values minus the mean of their request."""
    frame = ratings.select("request").with_columns(value=pl.Series(values))
    centered = pl.col("value") - pl.col("value").mean().over("request")
    result: np.ndarray = frame.select(centered).to_series().to_numpy()
    return result
