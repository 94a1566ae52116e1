"""Whether the judge's ratings hang on what they should not: position, pass, length of the title.

The order of candidates is random in every pass, so within one request neither position nor length
can have anything to do with how well an item fits, and a plain regression of ratings on either,
each request centred on its own mean, measures the bias. The fitted curve of position may be taken
off (`reflect.debias`): a quadratic, because judges tend to favour either end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


class Slope(NamedTuple):
    """Change of a rating over the whole range of a cause, with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def place(ratings: pl.DataFrame) -> np.ndarray:
    """Where each item stood, from 0 (first) to 1 (last); ½ where it stood alone."""
    import numpy as np

    position, shown = (ratings[name].cast(float).to_numpy() for name in ("position", "shown"))
    places: np.ndarray = np.where(shown > 1, (position - 1) / np.maximum(shown - 1, 1), 0.5)
    return places


def position_curve(ratings: pl.DataFrame) -> np.ndarray:
    """Coefficients (c₁, c₂) of the effect c₁·x + c₂·x² of the place x on a rating.

    `ratings` has one row a rating: request, rating, position, shown. Both are 0 without data.
    """
    import numpy as np

    x = place(ratings)
    design = np.stack([_centred(power, ratings) for power in (x, x**2)], axis=1)
    target = _centred(ratings["rating"].to_numpy().astype(float), ratings)
    curve: np.ndarray = np.linalg.lstsq(design, target, rcond=None)[0]
    return curve


def position_effect(ratings: pl.DataFrame, curve: np.ndarray) -> np.ndarray:
    """What the position added to each rating, in rating points; 0 on average over places."""
    x = place(ratings)
    effect: np.ndarray = curve[0] * (x - 1 / 2) + curve[1] * (x**2 - 1 / 3)
    return effect


def slope(cause: np.ndarray, ratings: pl.DataFrame) -> Slope:
    """The linear effect of `cause` (one value a rating) within requests."""
    import numpy as np

    x = _centred(cause, ratings)
    y = _centred(ratings["rating"].to_numpy().astype(float), ratings)
    weight = float(x @ x)
    if weight <= 0:
        return Slope(0.0, 0.0, 0.0)
    value = float(x @ y) / weight
    free = max(1, len(x) - ratings["request"].n_unique() - 1)
    error = 1.96 * float(np.sqrt(((y - value * x) ** 2).sum() / free / weight))
    return Slope(value, value - error, value + error)


def agreement(judgments: pl.DataFrame) -> dict[str, float]:
    """How far the first two passes agree on the same pairs; empty with one pass.

    Kappa is Cohen's with quadratic weights: 1 is agreement, 0 what chance would give.
    """
    import polars as pl

    both = judgments.select(
        one=pl.col("ratings").list.get(0, null_on_oob=True),
        two=pl.col("ratings").list.get(1, null_on_oob=True),
    ).drop_nulls()
    if both.is_empty():
        return {}
    one, two = both["one"].to_numpy().astype(float), both["two"].to_numpy().astype(float)
    by_chance = one.var() + two.var() + (one.mean() - two.mean()) ** 2
    apart = float(((one - two) ** 2).mean())
    return {
        "passes agree: kappa": round(1 - apart / float(by_chance), 4) if by_chance else 1.0,
        "passes agree: same rating": round(float((one == two).mean()), 4),
    }


def bias_figures(ratings: pl.DataFrame) -> dict[str, str]:
    """Effects of position and of length; `ratings` has also `length`, characters of the line."""
    import polars as pl

    if ratings.is_empty():
        return {}
    x = place(ratings)
    thirds = ratings.with_columns(third=(x * 3).clip(0, 2.999).astype(int)).group_by("third")
    means = thirds.agg(mean=pl.col("rating").mean()).sort("third")["mean"]
    length = ratings["length"].to_numpy() / 10
    return {
        "position: last against first": str(slope(x, ratings)),
        "position: mean rating by thirds": ", ".join(f"{mean:+.3f}" for mean in means),
        "length: ten characters more": str(slope(length, ratings)),
    }


def _centred(values: np.ndarray, ratings: pl.DataFrame) -> np.ndarray:
    """Values minus the mean of their request."""
    import polars as pl

    frame = ratings.select("request").with_columns(value=pl.Series(values))
    centred = pl.col("value") - pl.col("value").mean().over("request")
    found: np.ndarray = frame.select(centred).to_series().to_numpy()
    return found
