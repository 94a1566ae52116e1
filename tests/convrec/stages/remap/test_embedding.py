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
from convrec.stages.remap.embedding import lacking_texts
from convrec.stages.responses import fetch_responses

MakeJob = Callable[..., StepContext]


def fill(ctx: StepContext) -> FetchResult:
    return fetch_responses(CANDIDATES, ctx, run="r", spent_usd=0.0, progress=lambda *_: None)


def texts_in(ctx: StepContext) -> int:
    with ctx.store.read_connection() as connection:
        found = connection.execute("SELECT count(*) FROM embeddings").fetchone()
    assert found is not None
    return int(found[0])


def forget_vectors(ctx: StepContext) -> pl.DataFrame:
    """Leave the answers, as a process does that was killed before it settled; the vectors."""
    with ctx.store.write() as connection:
        found = connection.execute("SELECT * FROM embeddings ORDER BY text_key").pl()
        connection.execute("DELETE FROM embeddings")
    return found


def test_tfidf_asks_nobody_and_reads_no_vector(make_job: MakeJob) -> None:
    ctx = make_job()
    assert not CANDIDATES.asks(ctx.config)
    assert len(CANDIDATES.requests(ctx)) == 0  # type: ignore[misc]
    assert CANDIDATES.inputs(ctx) == {}
    assert "model" not in CANDIDATES.config(ctx.config)


def test_candidates_are_scored_by_cosine_of_the_endpoints_vectors(
    make_job: MakeJob, openai: dict[str, object]
) -> None:
    ctx = make_job(**openai)
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


def test_a_catalog_edit_embeds_only_what_is_new(
    make_job: MakeJob, openai: dict[str, object], embedder: Any
) -> None:
    from .conftest import FILMS

    fill(make_job(**openai))
    before = CANDIDATES.spec(make_job(**openai)).artifact_id
    embedder.texts.clear()
    again = fill(make_job(**openai))
    assert embedder.texts == []
    assert (again.requests, again.from_ledger, again.sent) == (1, 1, 0)
    edited = make_job([*FILMS[1:], ("Ran", 1985, ["War"])], **openai)
    assert fill(edited).sent == 1
    # Alien is gone from the catalog, and a teacher named it: now its own words are read.
    assert embedder.texts == [["Ran 1985 War", "Alien 1979"]]
    assert CANDIDATES.spec(edited).artifact_id != before
    assert lacking_texts(edited).is_empty()


def test_an_edit_gives_what_a_rebuild_from_nothing_gives(
    make_job: MakeJob, openai: dict[str, object]
) -> None:
    from .conftest import FILMS

    films = [*FILMS[1:], ("Ran", 1985, ["War"])]
    fill(make_job(**openai))
    edited = make_job(films, **openai)
    fill(edited)
    rows = CANDIDATES.build(edited).rows
    forget_vectors(edited)
    assert lacking_texts(edited).height == 8
    fill(edited)
    assert CANDIDATES.build(edited).rows.equals(rows)


def test_the_ledger_has_what_embeddings_cost_and_max_usd_stops_them(
    make_job: MakeJob, openai: dict[str, object], embedder: Any
) -> None:
    with pytest.raises(BudgetExceeded, match="max_usd"):
        fill(make_job(**openai, llm__max_usd=1e-9))
    assert embedder.texts == []
    fetched = fill(make_job(**openai))
    (row,) = ledger_rows(make_job().store)
    assert (row["stage"], row["model"], row["completion_tokens"]) == ("remap", "demo-embedder", 0)
    assert row["usd"] == pytest.approx(row["prompt_tokens"] * 0.02 / 1e6)
    assert fetched.usd == pytest.approx(row["usd"])


def test_an_answer_that_was_not_settled_is_not_bought_again(
    make_job: MakeJob, openai: dict[str, object], embedder: Any
) -> None:
    ctx = make_job(**openai)
    fill(ctx)
    forget_vectors(ctx)
    embedder.texts.clear()
    fetched = fill(ctx)
    assert (fetched.sent, fetched.requests) == (0, fetched.from_ledger)
    assert embedder.texts == []
    assert texts_in(ctx) == 7


def test_texts_of_an_answer_that_was_not_settled_are_known_beside_others(
    make_job: MakeJob, openai: dict[str, object], embedder: Any
) -> None:
    from .conftest import FILMS

    ctx = make_job(**openai)
    fill(ctx)
    vectors = forget_vectors(ctx)
    embedder.texts.clear()
    fill(make_job([("Ran", 1985, ["War"]), *FILMS], **openai))
    assert embedder.texts == [["Ran 1985 War"]]
    found = forget_vectors(ctx)
    assert found.join(vectors, on="text_key", how="semi").equals(vectors)
    assert found.height == vectors.height + 1


def test_texts_without_a_vector_leave_the_artifact_partial(
    make_job: MakeJob, openai: dict[str, object]
) -> None:
    ctx = make_job(**openai)
    fill(ctx)
    with ctx.store.write() as connection:
        connection.execute("DELETE FROM embeddings WHERE context_id = 'c2'")
        item = "SELECT text_key FROM embeddings WHERE context_id = '' LIMIT 1"
        connection.execute(f"DELETE FROM embeddings WHERE text_key IN ({item})")
    built = CANDIDATES.build(ctx)
    assert built.failures is not None
    assert built.failures["context_id"].to_list() == ["", "c2"]
    assert "1 texts of items" in built.failures["reason"][0]
    unread = built.rows.filter(pl.col("context_id") == "c2")
    assert unread["conversation"].to_list() == [0.0] * unread.height


def test_an_endpoint_that_refuses_stops_the_run_in_one_sentence(
    make_job: MakeJob, openai: dict[str, object], embedder: Any
) -> None:
    with pytest.raises(EndpointError, match=r"remap\.model"):
        fill(make_job(**{**openai, "remap__model": "gpt-4o"}))
    embedder.refuse = True
    with pytest.raises((TooManyFailures, EndpointError)):
        fill(make_job(**openai))
    assert set(embedder.outcomes) == {"404", "400"}


def test_requests_hold_few_texts_and_bytes_and_keep_items_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedding, "GROUP", 3)
    monkeypatch.setattr(embedding, "GROUP_BYTES", 10)
    texts = pl.DataFrame(
        {
            "context_id": ["", "", "", "", "c1", "c2", "c3"],
            "text": ["a", "b", "c", "d", "123456", "1234", "x" * 20],
        }
    )
    groups = [group["text"].to_list() for group in embedding._groups(texts)]
    assert groups == [["a", "b", "c"], ["d"], ["123456", "1234"], ["x" * 20]]


def test_a_basis_of_a_model_is_pinned_under_its_name(
    make_job: MakeJob, openai: dict[str, object]
) -> None:
    plain, embedded = make_job(), make_job(**openai)
    other = make_job(**{**openai, "remap__model": "demo-embedder-2"})
    assert len({pin_name(ctx.config) for ctx in (plain, embedded, other)}) == 3
    assert embedded.frame("similarity_basis")["term"].to_list() == ["test demo-embedder"]
