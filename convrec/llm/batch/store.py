"""Records of batches in the warehouse: the requests and the state of each."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from convrec.artifacts.backend import WriteMode
from convrec.artifacts.retry import with_retries
from convrec.artifacts.store import Store
from convrec.artifacts.tables import utc_now
from convrec.llm.requests import LazyRequests, Request
from convrec.llm.response_store import connection_with_keys
from convrec.llm.spool import spool_write_error
from convrec.utils.locks import try_file_lock

COLUMNS = "batch_key, endpoint, stage, run, state, requests, file_id, batch_id, note, created_at"

CANCELLED_NOTE = "cancelled by us"
RELEASED_NOTE = "released by us"
NEVER_SUBMITTED_NOTE = "never submitted"
"""Values of `llm_batches.note`."""

FETCH_SIZE = 2000
"""Rows read from DuckDB at a time."""


@dataclass(frozen=True)
class BatchRecord:
    """One batch. `state` is draft, ready, submitted or ended; unknown ids are empty."""

    batch_key: str
    endpoint: str
    stage: str
    run: str
    state: str
    requests: int
    file_id: str
    batch_id: str
    note: str
    created_at: datetime

    @property
    def file_name(self) -> str:
        """The name of the input file at the endpoint."""
        return f"convrec-{self.batch_key}.jsonl"


class BatchStore:
    """The batches of one warehouse."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.folder = store.home / "spool"

    def records(self) -> list[BatchRecord]:
        """All batches, oldest first."""
        return self._select("true")

    def record(self, batch_key: str) -> BatchRecord | None:
        """The current record of one batch."""
        return next(iter(self._select("batch_key = ?", [batch_key])), None)

    def open_with(self, keys: Collection[str]) -> list[BatchRecord]:
        """Open batches that hold any of these requests, oldest first."""
        return self._select(
            "state != 'ended' AND batch_key IN "
            "(SELECT batch_key FROM llm_batch_requests JOIN wanted ON request_key = key)",
            keys=keys,
        )

    @with_retries
    def update(self, batch: BatchRecord | BatchDraft, **changes: str) -> None:
        """Set `state`, `run`, `file_id`, `batch_id` or `note` of a batch, unless it has ended."""
        assignments = ", ".join(f"{name} = ?" for name in changes)
        with self.store.transaction() as connection:
            connection.execute(
                f"UPDATE llm_batches SET {assignments}, updated_at = ? "  # noqa: S608
                "WHERE batch_key = ? AND state != 'ended'",
                [*changes.values(), utc_now(), batch.batch_key],
            )

    @with_retries
    def end(self, record: BatchRecord, note: str) -> None:
        """Mark a batch as ended and free its requests."""
        with self.store.transaction() as connection:
            connection.execute(
                "DELETE FROM llm_batch_requests WHERE batch_key = ?", [record.batch_key]
            )
            connection.execute(
                "UPDATE llm_batches SET state = 'ended', note = ?, updated_at = ? "
                "WHERE batch_key = ?",
                [note, utc_now(), record.batch_key],
            )
        remove_transfers(self.folder, record.batch_key)

    def find_requests(self, record: BatchRecord, keys: Collection[str]) -> dict[str, Request]:
        """Request key → request, for those of `keys` that the batch holds."""
        with connection_with_keys(self.store, keys) as connection:
            found = connection.execute(
                "SELECT request_key, owner, body FROM llm_batch_requests "
                "JOIN wanted ON request_key = key WHERE batch_key = ?",
                [record.batch_key],
            ).fetchall()
        return {
            key: Request(owner, record.endpoint, json.loads(body)) for key, owner, body in found
        }

    def request_keys(self, record: BatchRecord) -> set[str]:
        """The request keys that an open batch holds."""
        with self.store.read_connection() as connection:
            found = connection.execute(
                "SELECT request_key FROM llm_batch_requests WHERE batch_key = ?",
                [record.batch_key],
            ).fetchall()
        return {key for (key,) in found}

    def open_requests(self, run: str | None = None, batch_key: str | None = None) -> LazyRequests:
        """The requests in the open batches of one run, or of all; with a key, in that batch."""
        query = (
            "SELECT {} FROM llm_batch_requests JOIN llm_batches USING (batch_key) "
            "WHERE ($1 IS NULL OR run = $1) AND ($2 IS NULL OR batch_key = $2)"
        )
        values = [run, batch_key]

        def make() -> Iterator[Request]:
            with self.store.read_connection() as connection:
                found = connection.execute(query.format("owner, endpoint, body"), values)
                while rows := found.fetchmany(FETCH_SIZE):
                    for owner, endpoint, body in rows:
                        yield Request(owner, endpoint, json.loads(body))

        def count() -> int:
            with self.store.read_connection() as connection:
                ((number,),) = connection.execute(query.format("count(*)"), values).fetchall()
            return int(number)

        return LazyRequests(make, count)

    def write_input_file(self, record: BatchRecord, path: Path) -> None:
        """Write the batch's input file: one line per request, with the key as `custom_id`."""
        with self.store.read_connection() as connection:
            found = connection.execute(
                "SELECT request_key, body FROM llm_batch_requests WHERE batch_key = ? "
                "ORDER BY request_key",
                [record.batch_key],
            )
            try:
                with path.open("w", encoding="utf-8") as file:
                    while rows := found.fetchmany(FETCH_SIZE):
                        file.writelines(input_line(key, body) for key, body in rows)
            except OSError as error:
                raise spool_write_error(path.parent, error) from None

    @contextlib.contextmanager
    def try_lock(self, batch_key: str) -> Iterator[bool]:
        """Yield whether the batch is free, on all hosts of a lake; if so, hold its lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"batch-{batch_key}.lock"
        with contextlib.ExitStack() as stack:
            if not stack.enter_context(try_file_lock(path)):
                yield False
                return
            stack.callback(path.unlink, missing_ok=True)
            claims = self.store.backend.open_claims()
            if claims is not None:
                stack.callback(claims.close)
            yield claims is None or bool(claims.take([path.stem]))

    def _select(
        self, condition: str, values: Sequence[str] = (), keys: Collection[str] = ()
    ) -> list[BatchRecord]:
        with connection_with_keys(self.store, keys) as connection:
            found = connection.execute(
                f"SELECT {COLUMNS} FROM llm_batches WHERE {condition} "  # noqa: S608
                "ORDER BY created_at, batch_key",
                list(values),
            ).fetchall()
        return [BatchRecord(*row) for row in found]


class BatchDraft:
    """A batch that is being filled. The caller holds its lock."""

    def __init__(self, batch_store: BatchStore, endpoint: str, stage: str, run: str) -> None:
        self.batch_key = secrets.token_hex(8)
        self.requests = 0
        self.bytes = 0
        self.model = ""
        self._batch_store = batch_store
        self._origin = (endpoint, stage, run)

    def fits(self, model: str, size: int, max_requests: int, max_bytes: int) -> bool:
        """Whether a line of `size` bytes for `model` still fits."""
        has_room = self.requests < max_requests and self.bytes + size <= max_bytes
        return not self.requests or (has_room and model == self.model)

    def count_line(self, model: str, size: int) -> None:
        """Count a line that is added."""
        self.model, self.requests, self.bytes = model, self.requests + 1, self.bytes + size

    @with_retries
    def write_requests(self, requests: Sequence[Request]) -> None:
        """Record requests as part of this batch; no other process will send them."""
        if not requests:
            return
        rows = pl.DataFrame(
            {
                "batch_key": [self.batch_key] * len(requests),
                "request_key": [request.key for request in requests],
                "owner": [request.owner for request in requests],
                "model": [request.model for request in requests],
                "body": [request.body_json for request in requests],
            }
        ).to_arrow()
        endpoint, stage, run = self._origin
        with self._batch_store.store.transaction(WriteMode.APPEND) as connection:
            connection.execute(
                "INSERT INTO llm_batches SELECT ?, ?, ?, ?, 'draft', 0, '', '', '', ?, ? WHERE "
                "NOT EXISTS (SELECT 1 FROM llm_batches AS known WHERE known.batch_key = ?)",
                [self.batch_key, endpoint, stage, run, utc_now(), utc_now(), self.batch_key],
            )
            connection.register("packed", rows)
            connection.execute("INSERT INTO llm_batch_requests BY NAME SELECT * FROM packed")
            connection.execute(
                "UPDATE llm_batches SET requests = requests + ? WHERE batch_key = ?",
                [len(requests), self.batch_key],
            )


def remove_transfers(folder: Path, batch_key: str = "*") -> None:
    """Delete input and output files of one batch, or of all."""
    for path in folder.glob(f"batch-{batch_key}.*"):
        if path.suffix in (".jsonl", ".part"):
            path.unlink(missing_ok=True)


def unreadable_file(folder: Path, batch_key: str = "*") -> Path:
    """The file that keeps the unreadable lines of a batch's output."""
    return folder / f"unread-{batch_key}.jsonl"


def input_line(key: str, body: str) -> str:
    """One line of a Batch input file."""
    head = json.dumps({"custom_id": key, "method": "POST", "url": "/v1/chat/completions"})
    return f'{head[:-1]}, "body": {body}}}\n'
