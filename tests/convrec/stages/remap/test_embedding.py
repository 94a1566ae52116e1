from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from convrec.demo.embedding import text_vector
from convrec.errors import BudgetExceeded, EndpointError, TooManyFailures
from convrec.llm.fetch import FetchResult
from convrec.llm.ledger import ledger_rows
from convrec.stages.base import StepContext
from convrec.stages.remap import CANDIDATES, embedding, pin_name
from convrec.stages.remap.embedding import missing_texts
from convrec.stages.responses import fetch_responses
from tests.support.films import FILMS

MakeCtx = Callable[..., StepContext]


def fill(ctx: StepContext) -> FetchResult:
    return fetch_responses(CANDIDATES, ctx, run="r", spent_usd=0.0, progress=lambda *_: None)


def texts_in(ctx: StepContext) -> int:
    with ctx.store.read_connection() as connection:
        found = connection.execute("SELECT count(*) FROM embeddings").fetchone()
    assert found is not None
    return int(found[0])


def forget_vectors(ctx: StepContext) -> pl.DataFrame:
    """Delete and return all vectors; responses stay, as after a kill before vectors are stored."""
    with ctx.store.transaction() as connection:
        found = connection.execute("SELECT * FROM embeddings ORDER BY text_key").pl()
        connection.execute("DELETE FROM embeddings")
    return found


def test_tfidf_needs_no_request_and_no_vector(make_ctx: MakeCtx) -> None:
    ctx = make_ctx()
    assert not CANDIDATES.needs_responses(ctx.config)
    assert len(CANDIDATES.responses.requests(ctx)) == 0  # type: ignore[misc]
    assert CANDIDATES.inputs(ctx) == {}
    assert "model" not in CANDIDATES.config(ctx.config)


def test_candidates_are_scored_by_cosine_of_vectors(
    make_ctx: MakeCtx, openai: dict[str, object]
) -> None:
    ctx = make_ctx(**openai)
    fetched = fill(ctx)
    assert (fetched.sent, fetched.failures) == (2, {})  # items, and conversations
    built = CANDIDATES.build(ctx)
    rows = {row["item_id"]: row for row in built.rows.to_dicts() if row["context_id"] == "c1"}
    sequel, heat, hidden = map(text_vector, ("Aliens 1986 Action Sci-Fi", "Heat 1995 Crime", ""))
    unknown = text_vector("Unknown Film 2001")
    near = heat + unknown / np.sqrt(2)
    weight = ctx.config.remap.similarity_weight
    assert rows["Aliens (1986)"]["similarity"] == pytest.approx(weight * near @ sequel, abs=1e-5)
    talk = text_vector("USER: crime please") @ heat * ctx.config.remap.conversation_weight
    assert rows["Heat (1995)"]["conversation"] == pytest.approx(talk, abs=1e-5)
    assert not hidden.any()
    assert built.failures is None


def test_a_catalog_edit_embeds_only_new_texts(
    make_ctx: MakeCtx, openai: dict[str, object], embedder: Any
) -> None:
    fill(make_ctx(**openai))
    before = CANDIDATES.spec(make_ctx(**openai)).artifact_id
    embedder.texts.clear()
    again = fill(make_ctx(**openai))
    assert embedder.texts == []
    assert (again.requests, again.from_ledger, again.sent) == (1, 1, 0)
    edited = make_ctx([*FILMS[1:], ("Ran", 1985, ["War"])], **openai)
    assert fill(edited).sent == 1
    # Alien left the catalog and is in a list: now it is embedded as written.
    assert embedder.texts == [["Ran 1985 War", "Alien 1979"]]
    assert CANDIDATES.spec(edited).artifact_id != before
    assert missing_texts(edited).is_empty()


def test_an_edit_equals_a_rebuild(make_ctx: MakeCtx, openai: dict[str, object]) -> None:
    films = [*FILMS[1:], ("Ran", 1985, ["War"])]
    fill(make_ctx(**openai))
    edited = make_ctx(films, **openai)
    fill(edited)
    rows = CANDIDATES.build(edited).rows
    forget_vectors(edited)
    assert missing_texts(edited).height == 8
    fill(edited)
    assert CANDIDATES.build(edited).rows.equals(rows)


def test_embeddings_are_in_the_ledger_and_within_max_usd(
    make_ctx: MakeCtx, openai: dict[str, object], embedder: Any
) -> None:
    with pytest.raises(BudgetExceeded, match="max_usd"):
        fill(make_ctx(**openai, llm__max_usd=1e-9))
    assert embedder.texts == []
    fetched = fill(make_ctx(**openai))
    (row,) = ledger_rows(make_ctx().store)
    assert (row["stage"], row["model"], row["completion_tokens"]) == ("remap", "demo-embedder", 0)
    assert row["usd"] == pytest.approx(row["prompt_tokens"] * 0.02 / 1e6)
    assert fetched.usd == pytest.approx(row["usd"])


def test_a_stored_response_is_not_requested_again(
    make_ctx: MakeCtx, openai: dict[str, object], embedder: Any
) -> None:
    ctx = make_ctx(**openai)
    fill(ctx)
    forget_vectors(ctx)
    embedder.texts.clear()
    fetched = fill(ctx)
    assert (fetched.sent, fetched.requests) == (0, fetched.from_ledger)
    assert embedder.texts == []
    assert texts_in(ctx) == 7


def test_stored_responses_are_used_for_other_groups_of_texts(
    make_ctx: MakeCtx, openai: dict[str, object], embedder: Any
) -> None:
    ctx = make_ctx(**openai)
    fill(ctx)
    vectors = forget_vectors(ctx)
    embedder.texts.clear()
    fill(make_ctx([("Ran", 1985, ["War"]), *FILMS], **openai))
    assert embedder.texts == [["Ran 1985 War"]]
    found = forget_vectors(ctx)
    assert found.join(vectors, on="text_key", how="semi").equals(vectors)
    assert found.height == vectors.height + 1


def test_texts_without_a_vector_leave_the_artifact_partial(
    make_ctx: MakeCtx, openai: dict[str, object]
) -> None:
    ctx = make_ctx(**openai)
    fill(ctx)
    with ctx.store.transaction() as connection:
        connection.execute("DELETE FROM embeddings WHERE context_id = 'c2'")
        item = "SELECT text_key FROM embeddings WHERE context_id = '' LIMIT 1"
        connection.execute(f"DELETE FROM embeddings WHERE text_key IN ({item})")
    built = CANDIDATES.build(ctx)
    assert built.failures is not None
    assert built.failures["context_id"].to_list() == ["", "c2"]
    assert "1 texts of items" in built.failures["reason"][0]
    unread = built.rows.filter(pl.col("context_id") == "c2")
    assert unread["conversation"].to_list() == [0.0] * unread.height


def test_an_endpoint_that_rejects_requests_stops_the_run(
    make_ctx: MakeCtx, openai: dict[str, object], embedder: Any
) -> None:
    with pytest.raises(EndpointError, match=r"remap\.model"):
        fill(make_ctx(**{**openai, "remap__model": "gpt-4o"}))
    embedder.rejecting = True
    with pytest.raises((TooManyFailures, EndpointError)):
        fill(make_ctx(**openai))
    assert set(embedder.outcomes) == {"404", "400"}


def test_texts_are_grouped_by_number_bytes_and_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedding, "TEXTS_PER_REQUEST", 3)
    monkeypatch.setattr(embedding, "BYTES_PER_REQUEST", 10)
    texts = pl.DataFrame(
        {
            "context_id": ["", "", "", "", "c1", "c2", "c3"],
            "text": ["a", "b", "c", "d", "123456", "1234", "x" * 20],
        }
    )
    groups = [group["text"].to_list() for group in embedding.group_texts(texts)]
    assert groups == [["a", "b", "c"], ["d"], ["123456", "1234"], ["x" * 20]]


def test_the_pin_name_depends_on_the_model(make_ctx: MakeCtx, openai: dict[str, object]) -> None:
    plain, embedded = make_ctx(), make_ctx(**openai)
    other = make_ctx(**{**openai, "remap__model": "demo-embedder-2"})
    assert len({pin_name(ctx.config) for ctx in (plain, embedded, other)}) == 3
    assert embedded.frame("similarity_basis")["term"].to_list() == ["test demo-embedder"]
