"""Stored answers: every raw response by request key, for every run that ever needs it again.

An answer is written once and never changed. Reading asks DuckDB for many keys in one join.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from convrec.artifacts.identity import digest
from convrec.artifacts.retry import again
from convrec.artifacts.warehouse import WriteMode
from convrec.errors import WarehouseError
from convrec.llm import spool
from convrec.llm.requests import Request
from convrec.llm.response import Response
from convrec.llm.spool import KeyStatus, Spool

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from convrec.artifacts.ducklake.locks import LakeClaims
    from convrec.artifacts.store import Store

_NEW_ANSWERS = """
INSERT INTO llm_answers BY NAME
SELECT key AS request_key, owner, endpoint, model, body, response, response_digest, origin,
    created_at::TIMESTAMP AS created_at
FROM incoming
WHERE response != '' AND NOT EXISTS (
    SELECT 1 FROM llm_answers AS known WHERE known.request_key = incoming.key)
QUALIFY row_number() OVER (PARTITION BY key ORDER BY created_at) = 1
"""

_NEW_LEDGER_ROWS = """
INSERT INTO llm_ledger BY NAME
SELECT DISTINCT key AS request_key, run, stage, endpoint, model, origin, prompt_tokens,
    cached_tokens, completion_tokens, reasoning_tokens, usd, created_at::TIMESTAMP AS created_at
FROM incoming
WHERE origin != 'imported' AND NOT EXISTS (
    SELECT 1 FROM llm_ledger AS known WHERE known.request_key = incoming.key
    AND known.created_at = incoming.created_at::TIMESTAMP)
"""


class ResponseStore:
    """The answers of one warehouse. Opening it first saves what crashed processes left behind."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.folder = store.home / "spool"
        self.recover()

    def recover(self) -> int:
        """Move answers of processes that died to the warehouse; how many were found.

        Within a block of `Store.reading` they stay where they are.
        """
        if self.store.is_connection_held:
            return 0
        return spool.recover(self.folder, self.add)

    def open_spool(self) -> Spool:
        """A spool for a process that asks; of a lake, one whose claims all hosts see."""
        return Spool(self.folder, self._shared_claims())

    def asked_elsewhere(self, keys: Collection[str]) -> set[str]:
        """Those of `keys` that another process, on whatever host, is asking for."""
        asked = spool.claimed_keys(self.folder).intersection(keys)
        if (claims := self._shared_claims()) is not None:
            asked |= claims.busy(keys)
            claims.close()
        return asked

    def asked_on_any_host(self) -> bool:
        """Whether a process on any host of a lake is asking for something."""
        claims = self._shared_claims()
        if claims is None:
            return False
        try:
            return claims.anybody()
        finally:
            claims.close()

    def _shared_claims(self) -> LakeClaims | None:
        if self.store.lake is None:
            return None
        from convrec.artifacts.ducklake.locks import LakeClaims

        return LakeClaims(self.store.lake)

    def digests(self, keys: Collection[str]) -> dict[str, str]:
        """Request key → digest of its answer, for those of `keys` that have one."""
        return dict(self._look_up(keys, "response_digest"))

    def responses(self, keys: Collection[str]) -> dict[str, dict[str, Any]]:
        """Request key → raw response body, for those of `keys` that have one."""
        found = self._look_up(keys, "response")
        return {key: json.loads(text) for key, text in found}

    def exchanges(self, keys: Collection[str]) -> dict[str, tuple[Request, dict[str, Any]]]:
        """Request key → (request, raw response body), for those of `keys` that are answered."""
        found = self._look_up(keys, "owner", "endpoint", "body", "response")
        return {
            key: (Request(owner or "", endpoint, json.loads(body)), json.loads(response))
            for key, owner, endpoint, body, response in found
        }

    @again
    def add(self, answers: Sequence[Response]) -> None:
        """Commit answers and what they cost in one transaction; repeats change nothing."""
        if not answers:
            return
        incoming = response_table(answers)
        with self.store.transaction(WriteMode.APPEND) as connection:
            insert_responses(connection, incoming)

    def standing(self, keys: Collection[str]) -> KeyStatus:
        """Which of `keys` are answered, and which are in a batch that has not ended."""
        import polars as pl

        wanted = pl.DataFrame({"key": list(keys)}, schema={"key": pl.String})
        with self.store.read_connection() as connection:
            connection.register("wanted", wanted.to_arrow())
            stored, batched = (
                {key for (key,) in connection.execute(query).fetchall()}
                for query in (
                    "SELECT request_key FROM llm_answers JOIN wanted ON request_key = key",
                    "SELECT request_key FROM llm_batch_requests JOIN wanted ON request_key = key",
                )
            )
        return KeyStatus(stored, batched - stored)

    def _look_up(self, keys: Collection[str], *columns: str) -> list[Any]:
        """(request key, columns) of each of `keys` that is answered."""
        if not keys:
            return []
        with self.store.read_connection() as connection:
            return connection.execute(
                f"SELECT request_key, {', '.join(columns)} FROM llm_answers "  # noqa: S608
                "JOIN (SELECT DISTINCT unnest(?::VARCHAR[]) AS key) ON request_key = key",
                [list(keys)],
            ).fetchall()


def insert_responses(connection: duckdb.DuckDBPyConnection, incoming: pa.Table) -> None:
    """Insert answers (columns of `Answer` and response_digest) and their bills; repeats nothing."""
    connection.register("incoming", incoming)
    connection.execute(_NEW_LEDGER_ROWS)
    connection.execute(_NEW_ANSWERS)
    connection.unregister("incoming")


def response_table(answers: Sequence[Response]) -> pa.Table:
    """Answers as `insert` takes them."""
    import polars as pl

    rows = [asdict(a) | {"response_digest": response_digest(a.response)} for a in answers]
    return pl.DataFrame(rows, infer_schema_length=None).to_arrow()


def response_digest(response: str) -> str:
    """SHA-256 of what an answer says: its choices or embeddings, without ids, times and counts.

    Two purchases with the same words are the same input to the stages that follow.
    """
    if not response:
        return ""
    body = json.loads(response)
    if not isinstance(body, dict):
        raise WarehouseError("a stored answer is not a JSON object; the spool was edited by hand")
    return digest(body.get("choices", body.get("data")))
