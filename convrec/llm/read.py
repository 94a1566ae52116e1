"""Stored answers as a step reads them: by request, without asking anyone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from convrec.artifacts.identity import digest
from convrec.llm.endpoint import endpoint_name
from convrec.llm.requests import Request, chunks
from convrec.llm.response_store import ResponseStore

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts import Store
    from convrec.config import Config

NO_RESPONSE = "no answer is stored for this request"


def responses_digest(requests: Iterable[Request], store: Store) -> str:
    """The digest of what would be used: every request key with the digest of its stored answer."""
    answers, total = ResponseStore(store), sha256()
    for chunk in chunks(requests):
        stored = answers.digests([request.key for request in chunk])
        for request in chunk:
            row = (request.owner, request.key, stored.get(request.key, ""))
            total.update("\x1f".join(row).encode() + b"\n")
    return total.hexdigest()


def responses_state(config: Config, store: Store, model: str, stage: str, notes: str = "") -> str:
    """The digest of the endpoint, of a model's answers, and of a further table, `notes`.

    Answers that were bought for another stage do not count. Empty where answers come from a file.
    """
    if config.recommend.source == "replay":
        return ""
    figures = "SELECT count(*), bit_xor(hash(t))::VARCHAR, sum(hash(t))::VARCHAR FROM"
    answers = (
        "SELECT request_key, response_digest FROM llm_answers WHERE model = $1 "
        "AND request_key NOT IN (SELECT request_key FROM llm_ledger WHERE stage <> $2)"
    )
    with store.read_connection() as connection:
        rows = connection.execute(f"{figures} ({answers}) AS t", [model, stage]).fetchall()
        if notes:
            rows += connection.execute(f"{figures} {notes} AS t").fetchall()
    return digest({"endpoint": endpoint_name(config), "rows": rows})


def stored_texts(
    requests: Iterable[Request], store: Store
) -> Iterator[tuple[Request, str | None, str]]:
    """(request, answer text, why there is none) for each request, in order.

    The reason is NO_ANSWER where nothing is stored, and else says what was stored instead of text.
    """
    answers = ResponseStore(store)
    for chunk in chunks(requests):
        responses = answers.responses([request.key for request in chunk])
        for request in chunk:
            response = responses.get(request.key)
            yield (request, *(response_text(response) if response else (None, NO_RESPONSE)))


def missing_requests(requests: Iterable[Request], store: Store) -> Iterator[Request]:
    """The requests to which no answer is stored, in order."""
    answers = ResponseStore(store)
    for chunk in chunks(requests):
        stored = answers.digests([request.key for request in chunk])
        yield from (request for request in chunk if request.key not in stored)


def response_text(response: Mapping[str, Any]) -> tuple[str | None, str]:
    """(the text of a response, why there is none); half a character in it becomes a "?"."""
    message = response["choices"][0].get("message")
    said = message if isinstance(message, Mapping) else {}
    text, refusal = (
        value.encode(errors="replace").decode() if isinstance(value, str) else ""
        for value in (said.get("content"), said.get("refusal"))
    )
    return (text, "") if text else (None, f"no text: {refusal or 'empty content'}")


def with_reasons(failures: pl.DataFrame, reasons: Mapping[str, str]) -> pl.DataFrame:
    """Failures as `failed_contexts` has them; `reasons` say why a context has no answer."""
    import polars as pl

    why = pl.col("context_id").replace_strict(reasons, default=NO_RESPONSE, return_dtype=pl.String)
    told = pl.when(pl.col("reason") == NO_RESPONSE).then(why).otherwise("reason")
    return failures.with_columns(reason=told)


def failures_frame(failed: Sequence[tuple[str, str, bool]]) -> pl.DataFrame:
    """Failures as an artifact keeps them, from (context_id, reason, final)."""
    import polars as pl

    columns = {"context_id": pl.String, "reason": pl.String, "final": pl.Boolean}
    return pl.DataFrame(failed, schema=columns, orient="row")
