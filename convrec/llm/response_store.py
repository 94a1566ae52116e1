"""The stored responses of a warehouse: raw, by request key, shared by all runs.

A response is written once and never changed. A lookup of many keys is one join in DuckDB.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from convrec.artifacts.backend import WriteMode
from convrec.artifacts.identity import digest
from convrec.artifacts.retry import with_retries
from convrec.artifacts.store import Store
from convrec.errors import WarehouseError
from convrec.llm import spool
from convrec.llm.requests import Request
from convrec.llm.response import Response
from convrec.llm.spool import KeyStatus, Spool

_INSERT_RESPONSES = """
INSERT INTO llm_answers BY NAME
SELECT key AS request_key, owner, endpoint, model, body, response, response_digest, origin,
    created_at::TIMESTAMP AS created_at
FROM incoming
WHERE response != '' AND NOT EXISTS (
    SELECT 1 FROM llm_answers AS stored WHERE stored.request_key = incoming.key)
QUALIFY row_number() OVER (PARTITION BY key ORDER BY created_at) = 1
"""

_INSERT_LEDGER_ROWS = """
INSERT INTO llm_ledger BY NAME
SELECT DISTINCT key AS request_key, run, stage, endpoint, model, origin, prompt_tokens,
    cached_tokens, completion_tokens, reasoning_tokens, usd, created_at::TIMESTAMP AS created_at
FROM incoming
WHERE origin != 'imported' AND NOT EXISTS (
    SELECT 1 FROM llm_ledger AS stored WHERE stored.request_key = incoming.key
    AND stored.created_at = incoming.created_at::TIMESTAMP)
"""


class ResponseStore:
    """The responses of one warehouse.

    Call `recover` before relying on a response to be found: a killed process may have left some
    in the spool.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.folder = store.home / "spool"

    def recover(self) -> int:
        """Move the responses of dead processes from the spool to the warehouse; their number.

        Does nothing while the store's connection is held for reading.
        """
        if self.store.is_connection_held:
            return 0
        return spool.recover(self.folder, self.add)

    def open_spool(self) -> Spool:
        """A spool for this process; on a lake all hosts see its claims."""
        return Spool(self.folder, self.store.backend.open_claims())

    def claimed_elsewhere(self, keys: Collection[str]) -> set[str]:
        """Those of `keys` that a process has claimed, on any host of a lake."""
        claimed = spool.claimed_keys(self.folder).intersection(keys)
        if (claims := self.store.backend.open_claims()) is not None:
            with closing(claims):
                claimed |= claims.claimed_by_others(keys)
        return claimed

    def has_lake_claims(self) -> bool:
        """Whether a process on any host of a lake has claimed a key."""
        if (claims := self.store.backend.open_claims()) is None:
            return False
        with closing(claims):
            return claims.has_others()

    def digests(self, keys: Collection[str]) -> dict[str, str]:
        """Request key → digest of its response, for those of `keys` that have one."""
        return dict(self._select(keys, "response_digest"))

    def responses(self, keys: Collection[str]) -> dict[str, dict[str, Any]]:
        """Request key → raw response body, for those of `keys` that have one."""
        rows = self._select(keys, "response")
        return {key: json.loads(text) for key, text in rows}

    def exchanges(self, keys: Collection[str]) -> dict[str, tuple[Request, dict[str, Any]]]:
        """Request key → (request, raw response body), for those of `keys` that have one."""
        rows = self._select(keys, "owner", "endpoint", "body", "response")
        return {
            key: (Request(owner or "", endpoint, json.loads(body)), json.loads(response))
            for key, owner, endpoint, body, response in rows
        }

    @with_retries
    def add(self, responses: Sequence[Response]) -> None:
        """Commit responses and their cost in one transaction. Adding them again changes nothing."""
        if not responses:
            return
        incoming = response_table(responses)
        with self.store.transaction(WriteMode.APPEND) as connection:
            insert_responses(connection, incoming)

    def key_status(self, keys: Collection[str]) -> KeyStatus:
        """Which of `keys` have a response, and which others are in an open batch."""
        query = "SELECT request_key FROM {} JOIN wanted ON request_key = key"
        with connection_with_keys(self.store, keys) as connection:
            stored, batched = (
                {key for (key,) in connection.execute(query.format(table)).fetchall()}
                for table in ("llm_answers", "llm_batch_requests")
            )
        return KeyStatus(stored, batched - stored)

    def _select(self, keys: Collection[str], *columns: str) -> list[Any]:
        """(request key, columns) for each of `keys` that has a response."""
        if not keys:
            return []
        with connection_with_keys(self.store, keys) as connection:
            return connection.execute(
                f"SELECT request_key, {', '.join(columns)} FROM llm_answers "  # noqa: S608
                "JOIN (SELECT DISTINCT key FROM wanted) ON request_key = key"
            ).fetchall()


def recovered_responses(store: Store) -> ResponseStore:
    """The responses of a warehouse, including those that dead processes left in the spool."""
    responses = ResponseStore(store)
    responses.recover()
    return responses


@contextmanager
def connection_with_keys(
    store: Store, keys: Collection[str]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for reading on which `keys` are the table `wanted` with the column `key`."""
    wanted = pl.DataFrame({"key": list(keys)}, schema={"key": pl.String})
    with store.read_connection() as connection:
        connection.register("wanted", wanted.to_arrow())
        yield connection


def insert_responses(connection: duckdb.DuckDBPyConnection, incoming: pa.Table) -> None:
    """Insert a `response_table` into the responses and the ledger, except rows that exist."""
    connection.register("incoming", incoming)
    connection.execute(_INSERT_LEDGER_ROWS)
    connection.execute(_INSERT_RESPONSES)
    connection.unregister("incoming")


def response_table(responses: Sequence[Response]) -> pa.Table:
    """Responses as columns, with `response_digest`."""
    rows = [asdict(r) | {"response_digest": response_digest(r.response)} for r in responses]
    return pl.DataFrame(rows, infer_schema_length=None).to_arrow()


def response_digest(response: str) -> str:
    """SHA-256 of a response's choices or embeddings, without ids, times and token counts.

    Two responses with the same text are the same input to the stages that read them.
    """
    if not response:
        return ""
    body = json.loads(response)
    if not isinstance(body, dict):
        raise WarehouseError(
            "an LLM response in the spool is not a JSON object: a file there was edited by hand. "
            "Delete that line and run again"
        )
    return digest(body.get("choices", body.get("data")))
