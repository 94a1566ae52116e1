"""Read stored responses by request. Nothing here sends a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256

import polars as pl

from convrec.artifacts.identity import digest
from convrec.artifacts.store import Store
from convrec.config import Config
from convrec.llm.answer import Answer, read_answer
from convrec.llm.endpoint import endpoint_name
from convrec.llm.requests import Request, chunks
from convrec.llm.response_store import recovered_responses

NO_RESPONSE = "no answer is stored for this request"
"""The reason of a failure that a later run may resolve; stored in artifacts."""


def responses_digest(requests: Iterable[Request], store: Store) -> str:
    """A digest of every request key with the digest of its stored response."""
    responses, total = recovered_responses(store), sha256()
    for chunk in chunks(requests):
        stored = responses.digests([request.key for request in chunk])
        for request in chunk:
            row = (request.owner, request.key, stored.get(request.key, ""))
            total.update("\x1f".join(row).encode() + b"\n")
    return total.hexdigest()


def responses_state(
    config: Config, store: Store, model: str, stage: str, index_table: str = ""
) -> str:
    """A digest of the endpoint, of a model's stored responses and of `index_table`, if named.

    Responses that another stage bought do not count. Empty if responses come from a file.
    """
    if config.recommend.source == "replay":
        return ""
    figures = "SELECT count(*), bit_xor(hash(t))::VARCHAR, sum(hash(t))::VARCHAR FROM"
    responses = (
        "SELECT request_key, response_digest FROM llm_answers WHERE model = $1 "
        "AND request_key NOT IN (SELECT request_key FROM llm_ledger WHERE stage <> $2)"
    )
    with store.read_connection() as connection:
        rows = connection.execute(f"{figures} ({responses}) AS t", [model, stage]).fetchall()
        if index_table:
            rows += connection.execute(f"{figures} {index_table} AS t").fetchall()
    return digest({"endpoint": endpoint_name(config), "rows": rows})


def table_version(store: Store, table: str = "llm_answers") -> tuple[int, ...]:
    """Changes whenever a row is added to a table or deleted; by default, a response."""
    with store.read_connection() as connection:
        query = f"SELECT count(*), coalesce(max(rowid), 0) FROM {table}"  # noqa: S608
        return tuple(connection.execute(query).fetchall()[0])


def stored_answers(requests: Iterable[Request], store: Store) -> Iterator[tuple[Request, Answer]]:
    """Yield each request with its answer, in order.

    Where nothing is stored, the reason is NO_RESPONSE.
    """
    responses = recovered_responses(store)
    for chunk in chunks(requests):
        stored = responses.responses([request.key for request in chunk])
        for request in chunk:
            response = stored.get(request.key)
            yield request, read_answer(response) if response else Answer(None, NO_RESPONSE)


def missing_requests(requests: Iterable[Request], store: Store) -> Iterator[Request]:
    """The requests without a stored response, in order."""
    responses = recovered_responses(store)
    for chunk in chunks(requests):
        stored = responses.digests([request.key for request in chunk])
        yield from (request for request in chunk if request.key not in stored)


def with_reasons(failures: pl.DataFrame, reasons: Mapping[str, str]) -> pl.DataFrame:
    """A failures frame with the reasons (by context) for those that say NO_RESPONSE."""
    known = pl.col("context_id").replace_strict(
        reasons, default=NO_RESPONSE, return_dtype=pl.String
    )
    reason = pl.when(pl.col("reason") == NO_RESPONSE).then(known).otherwise("reason")
    return failures.with_columns(reason=reason)


def failures_frame(failures: Sequence[tuple[str, str, bool]]) -> pl.DataFrame:
    """The failures of an artifact, from (context_id, reason, final)."""
    columns = {"context_id": pl.String, "reason": pl.String, "final": pl.Boolean}
    return pl.DataFrame(failures, schema=columns, orient="row")
