"""The book of batches: what was packed into which, and how far each is."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from convrec.artifacts.retry import again
from convrec.artifacts.store import Store
from convrec.artifacts.tables import utc_now
from convrec.artifacts.warehouse import WriteMode
from convrec.llm.requests import LazyRequests, Request
from convrec.llm.spool import spool_write_error
from convrec.utils.locks import try_file_lock

COLUMNS = "batch_key, endpoint, stage, run, state, requests, file_id, batch_id, note, created_at"

FETCH_SIZE = 2000


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
        """The name under which the endpoint has the input file."""
        return f"convrec-{self.batch_key}.jsonl"


class BatchStore:
    """The batches of one warehouse."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.folder = store.home / "spool"

    def rows(self) -> list[BatchRecord]:
        """Every batch, oldest first."""
        return self._select("true", [])

    def row(self, batch_key: str) -> BatchRecord | None:
        """One batch, as it stands now."""
        found = self._select("batch_key = ?", [batch_key])
        return found[0] if found else None

    def open_with(self, keys: Collection[str]) -> list[BatchRecord]:
        """Batches that have not ended and hold any of these requests, oldest first."""
        import polars as pl

        wanted = pl.DataFrame({"key": list(keys)}, schema={"key": pl.String})
        with self.store.read_connection() as connection:
            connection.register("wanted", wanted.to_arrow())
            found = connection.execute(
                f"SELECT {COLUMNS} FROM llm_batches WHERE state != 'ended' AND batch_key IN "  # noqa: S608
                "(SELECT batch_key FROM llm_batch_requests JOIN wanted ON request_key = key) "
                "ORDER BY created_at, batch_key"
            ).fetchall()
        return [BatchRecord(*row) for row in found]

    def draft(self, endpoint: str, stage: str, run: str) -> BatchDraft:
        """Begin a batch."""
        return BatchDraft(self, secrets.token_hex(8), endpoint, stage, run)

    @again
    def note(self, row: BatchRecord, **changes: str) -> None:
        """Record what is known of a batch now: state, file_id, batch_id, note.

        A batch that has ended meanwhile stays as it is.
        """
        sets = ", ".join(f"{name} = ?" for name in changes)
        with self.store.transaction() as connection:
            connection.execute(
                f"UPDATE llm_batches SET {sets}, updated_at = ? "  # noqa: S608
                "WHERE batch_key = ? AND state != 'ended'",
                [*changes.values(), utc_now(), row.batch_key],
            )

    @again
    def end(self, row: BatchRecord, note: str) -> None:
        """Set the requests of a batch free: they are answered, or may be sent again."""
        with self.store.transaction() as connection:
            connection.execute(
                "DELETE FROM llm_batch_requests WHERE batch_key = ?", [row.batch_key]
            )
            connection.execute(
                "UPDATE llm_batches SET state = 'ended', note = ?, updated_at = ? "
                "WHERE batch_key = ?",
                [note, utc_now(), row.batch_key],
            )
        self.clear(row)

    def clear(self, row: BatchRecord) -> None:
        """Remove files of this batch that a crash left half-way; all of them can be had again."""
        remove_transfers(self.folder, row.batch_key)

    def requests(self, row: BatchRecord, keys: Collection[str]) -> dict[str, Request]:
        """Request key → request, for those of `keys` that the batch holds."""
        import polars as pl

        wanted = pl.DataFrame({"key": list(keys)}, schema={"key": pl.String})
        with self.store.read_connection() as connection:
            connection.register("wanted", wanted.to_arrow())
            found = connection.execute(
                "SELECT request_key, owner, body FROM llm_batch_requests "
                "JOIN wanted ON request_key = key WHERE batch_key = ?",
                [row.batch_key],
            ).fetchall()
        return {key: Request(owner, row.endpoint, json.loads(body)) for key, owner, body in found}

    def keys(self, row: BatchRecord) -> set[str]:
        """The request keys that the batch holds, while it is open."""
        with self.store.read_connection() as connection:
            found = connection.execute(
                "SELECT request_key FROM llm_batch_requests WHERE batch_key = ?", [row.batch_key]
            ).fetchall()
        return {key for (key,) in found}

    def open_requests(self, run: str | None = None) -> LazyRequests:
        """The requests of all batches that have not ended; of one run, or of all."""
        held = "FROM llm_batch_requests JOIN llm_batches USING (batch_key) "
        of_run = "WHERE $1 IS NULL OR run = $1"

        def make() -> Iterator[Request]:
            with self.store.read_connection() as connection:
                query = f"SELECT owner, endpoint, body {held} {of_run}"
                found = connection.execute(query, [run])
                while some := found.fetchmany(FETCH_SIZE):
                    for owner, endpoint, body in some:
                        yield Request(owner, endpoint, json.loads(body))

        def count() -> int:
            with self.store.read_connection() as connection:
                query = f"SELECT count(*) {held} {of_run}"
                return int(connection.execute(query, [run]).fetchall()[0][0])

        return LazyRequests(make, count)

    def write_input(self, row: BatchRecord, path: Path) -> None:
        """Write the batch's input file: one line a request, `custom_id` is the request key."""
        with self.store.read_connection() as connection:
            found = connection.execute(
                "SELECT request_key, body FROM llm_batch_requests WHERE batch_key = ? "
                "ORDER BY request_key",
                [row.batch_key],
            )
            try:
                with path.open("w", encoding="utf-8") as file:
                    while some := found.fetchmany(FETCH_SIZE):
                        file.writelines(input_line(key, body) for key, body in some)
            except OSError as error:
                raise spool_write_error(path.parent, error) from None

    @contextlib.contextmanager
    def holding(self, batch_key: str) -> Iterator[bool]:
        """Whether the batch is ours to submit inside the block; another process may be at it.

        Of a lake that is a process of whatever host.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"batch-{batch_key}.lock"
        with contextlib.ExitStack() as stack:
            if not stack.enter_context(try_file_lock(path)):
                yield False
                return
            stack.callback(path.unlink, missing_ok=True)
            yield self._claimed_on_all_hosts(path.stem, stack)

    def _claimed_on_all_hosts(self, name: str, stack: contextlib.ExitStack) -> bool:
        if self.store.lake is None:
            return True
        from convrec.artifacts.ducklake.locks import LakeClaims

        claims = LakeClaims(self.store.lake)
        stack.callback(claims.close)
        return bool(claims.take([name]))

    def _select(self, condition: str, values: list[str]) -> list[BatchRecord]:
        with self.store.read_connection() as connection:
            found = connection.execute(
                f"SELECT {COLUMNS} FROM llm_batches WHERE {condition} "  # noqa: S608
                "ORDER BY created_at, batch_key",
                values,
            ).fetchall()
        return [BatchRecord(*row) for row in found]


class BatchDraft:
    """A batch that is being filled; a context manager that holds its lock."""

    def __init__(
        self, book: BatchStore, batch_key: str, endpoint: str, stage: str, run: str
    ) -> None:
        self.batch_key = batch_key
        self.requests = 0
        self.bytes = 0
        self.model = ""
        self._book = book
        self._names = (endpoint, stage, run)

    def takes(self, model: str, size: int, max_requests: int, max_bytes: int) -> bool:
        """Whether a line of `size` bytes for `model` still fits in."""
        fits = self.requests < max_requests and self.bytes + size <= max_bytes
        return not self.requests or (fits and model == self.model)

    def count(self, model: str, size: int) -> None:
        """Count a line that goes in."""
        self.model, self.requests, self.bytes = model, self.requests + 1, self.bytes + size

    @again
    def write(self, requests: Sequence[Request]) -> None:
        """Record requests as part of this batch, which makes them nobody else's."""
        import polars as pl

        if not requests:
            return
        rows = pl.DataFrame(
            {
                "batch_key": [self.batch_key] * len(requests),
                "request_key": [request.key for request in requests],
                "owner": [request.owner for request in requests],
                "model": [str(request.body.get("model")) for request in requests],
                "body": [json.dumps(dict(r.body), ensure_ascii=False) for r in requests],
            }
        ).to_arrow()
        endpoint, stage, run = self._names
        with self._book.store.transaction(WriteMode.APPEND) as connection:
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
    """Remove files on their way to or from an endpoint, of one batch or of all."""
    for path in folder.glob(f"batch-{batch_key}.*"):
        if path.suffix in (".jsonl", ".part"):
            path.unlink(missing_ok=True)


def unreadable_file(folder: Path, batch_key: str = "*") -> Path:
    """Where lines of a batch's output lie that nobody could read."""
    return folder / f"unread-{batch_key}.jsonl"


def input_line(key: str, body: str) -> str:
    """A line of a Batch input file."""
    head = json.dumps({"custom_id": key, "method": "POST", "url": "/v1/chat/completions"})
    return f'{head[:-1]}, "body": {body}}}\n'
