"""Stored answers as a step reads them: by request, without asking anyone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convrec.artifacts.identity import digest
from convrec.llm.answers import AnswerStore
from convrec.llm.requests import Request

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts import Store


def answers_digest(requests: Sequence[Request], store: Store) -> str:
    """The digest of what would be used: every request key with the digest of its stored answer."""
    stored = AnswerStore(store).digests([request.key for request in requests])
    return digest([[r.owner, r.key, stored.get(r.key)] for r in requests])


def stored_texts(requests: Sequence[Request], store: Store) -> tuple[dict[str, str], pl.DataFrame]:
    """(owner → answer text, failures): what is stored, and which contexts have no usable answer.

    `failures` has columns context_id, reason.
    """
    import polars as pl

    responses = AnswerStore(store).responses([request.key for request in requests])
    texts: dict[str, str] = {}
    failed: list[tuple[str, str]] = []
    for request in requests:
        response = responses.get(request.key)
        if response is None:
            failed.append((request.owner, "no answer is stored for this request"))
            continue
        message = response["choices"][0]["message"]
        if message.get("content"):
            texts[request.owner] = message["content"]
        else:
            failed.append((request.owner, f"no text: {message.get('refusal') or 'empty content'}"))
    columns = {"context_id": pl.String, "reason": pl.String}
    return texts, pl.DataFrame(failed, schema=columns, orient="row")
