"""Candidates equal a dense computation, with each similarity model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from convrec.stages.base import StepContext
from convrec.stages.remap import CANDIDATES, SIMILARITY_BASIS, candidates
from convrec.stages.remap.linked_titles import link_teacher_titles
from convrec.stages.remap.similarity import TfidfSimilarity, similarity_model
from convrec.stages.responses import fetch_responses

FIRST = ("Night", "Day", "Return", "Ghost", "River")
LAST = ("Hunter", "Queen", "Road")
FILMS = [
    (f"The {a} {b}", 1990 + n % 4, [("Crime", "Comedy", "War")[n % 3]])
    for n, (a, b) in enumerate((a, b) for a in FIRST for b in LAST)
]


def lists(rng: np.random.Generator) -> list[tuple[str, int, str, int | None]]:
    rows: list[tuple[str, int, str, int | None]] = []
    for context in ("c1", "c2"):
        for rank, number in enumerate(rng.integers(0, len(FILMS) + 5, 12), start=1):
            title, year, _ = FILMS[number % len(FILMS)]
            outside = number >= len(FILMS)
            rows.append((context, rank, f"{title} Again" if outside else title, year))
    return rows


@pytest.mark.parametrize("similarity", ["tfidf", "openai"])
def test_candidates_equal_a_dense_computation(
    make_ctx: Callable[..., StepContext],
    openai: dict[str, Any],
    similarity: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(candidates, "CHUNK", 1)
    rows_of_lists = lists(np.random.default_rng(3))
    settings = {**openai, "remap__keep": 12, "list_length": 5, "reflect__top": 5}
    ctx = make_ctx(FILMS, rows_of_lists, **{**settings, "remap__similarity": similarity})
    fetch_responses(CANDIDATES, ctx, run="", spent_usd=0.0, progress=lambda *_: None)
    rows = CANDIDATES.build(ctx).rows

    found = link_teacher_titles(ctx)
    conversations = ctx.frame("conversations").unique("context_id", maintain_order=True)
    model = similarity_model(ctx, found, conversations)
    p = np.zeros((2, found.items.height), np.float32)
    numbers = {row: n for n, row in enumerate(found.items.select("title", "year").rows())}
    for context, rank, title, year in rows_of_lists:
        place = ("c1", "c2").index(context), numbers[(title, year)]
        p[place] = max(p[place], rank**-0.5)
    identity = np.zeros((found.items.height, len(FILMS)), np.float32)
    for item, row in enumerate(found.position):
        identity[item, row] = row >= 0
    from scipy.sparse import csr_matrix

    each = model.item_similarity(csr_matrix(np.eye(found.items.height, dtype=np.float32)))
    scores = p @ identity + 0.3 * (p @ each) + 0.3 * model.conversation_similarity(slice(0, 2))
    best = np.argsort(-np.round(scores, 5), axis=1, kind="stable")[:, :12]
    ids = ctx.frame("catalog")["item_id"]
    assert rows["item_id"].to_list() == [ids[int(n)] for n in best.ravel()]
    kept = np.take_along_axis(scores, best, axis=1).ravel()
    assert rows["score"].to_list() == pytest.approx(kept.tolist(), abs=1e-5)
    carried = rows.filter(rows["identity"] > 0)
    assert carried["linked_from"].null_count() == 0
    assert rows.filter(rows["identity"] == 0)["linked_from"].null_count() == rows.height - len(
        carried
    )


def with_texts(ctx: StepContext, texts: list[str]) -> StepContext:
    """The context with these texts for the first items of its catalog."""
    catalog = ctx.frame("catalog")
    texts = [*texts, *[""] * (catalog.height - len(texts))]
    frames = {**ctx.frames, "catalog": catalog.with_columns(text=pl.Series(texts))}
    frames["similarity_basis"] = SIMILARITY_BASIS.build(replace(ctx, frames=frames)).rows
    return replace(ctx, frames=frames)


@pytest.mark.parametrize("words", [3, 30_000])
def test_sparse_entries_equal_the_dense_similarity(
    make_ctx: Callable[..., StepContext], words: int
) -> None:
    rng = np.random.default_rng(1)
    letters = rng.choice(list("abcdefghij"), (words, 8))
    ctx = with_texts(make_ctx(), ["crime " + " ".join(map("".join, letters)), "", "crime"])
    conversations = ctx.frame("conversations")
    model = TfidfSimilarity(ctx, link_teacher_titles(ctx), conversations)
    columns = np.array([0, 2])
    found = np.zeros((conversations.height, len(columns)), np.float32)
    row, column, score = model.conversation_entries(columns, conversations["conversation"])
    found[row, column] = score
    assert np.array_equal(
        found, model.conversation_similarity(slice(0, conversations.height))[:, columns]
    )
    assert (found > 0).any()


def test_a_catalog_of_titles_alone_is_a_warning(
    make_ctx: Callable[..., StepContext], caplog: pytest.LogCaptureFixture
) -> None:
    make_ctx()
    assert not caplog.records
    make_ctx([(title, year, []) for title, year, _ in FILMS])
    assert "TF-IDF compares nothing but titles and years" in caplog.text
