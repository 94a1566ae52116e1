"""A similarity model that is added from outside the package."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from convrec.config.choices import SIMILARITIES
from convrec.stages.base import StepContext
from convrec.stages.remap import CANDIDATES
from convrec.stages.remap.linked_titles import LinkedTitles
from convrec.stages.remap.similarity import SIMILARITY_MODELS, register_similarity


class SameYear:
    """1 for a catalog item of the year of the listed title, else 0."""

    def __init__(self, ctx: StepContext, titles: LinkedTitles, contexts: pl.DataFrame) -> None:
        catalog = ctx.frame("catalog", "year")["year"].to_numpy()
        listed = titles.items["year"].fill_null(0).to_numpy()
        self._same = (listed[:, None] == catalog[None, :]).astype(np.float32)
        self._shape = contexts.height, len(catalog)

    def item_similarity(self, p: object) -> np.ndarray:
        return np.asarray(p @ self._same)  # type: ignore[operator]

    def conversation_similarity(self, contexts: slice) -> np.ndarray:
        return np.zeros(self._shape, np.float32)[contexts]


def test_a_registered_similarity_scores_candidates(
    make_ctx: Callable[..., StepContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SIMILARITIES, "names", list(SIMILARITIES.names))
    monkeypatch.setitem(SIMILARITY_MODELS, "same-year", SameYear)
    register_similarity("same-year", SameYear)
    ctx = make_ctx(
        [("Heat", 1995, ["Crime"]), ("Seven", 1995, ["Crime"]), ("Alien", 1979, ["Horror"])],
        [("c1", 1, "Heat", 1995), ("c2", 1, "Alien", 1979)],
        remap__similarity="same-year",
    )
    assert not CANDIDATES.needs_responses(ctx.config)
    titles = ctx.frame("catalog").select("item_id", "title")
    rows = CANDIDATES.build(ctx).rows.join(titles, on="item_id")
    similar = rows.filter(pl.col("similarity") > 0).select("context_id", "title").rows()
    assert set(similar) == {("c1", "Heat"), ("c1", "Seven"), ("c2", "Alien")}


def test_the_names_of_the_configuration_are_the_models() -> None:
    assert SIMILARITIES.names == list(SIMILARITY_MODELS)
