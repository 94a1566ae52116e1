"""What a person may do with a batch: end it at the endpoint, or give up one that is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from convrec.config import Config
from convrec.errors import InputError
from convrec.llm.batch.client import BatchClient
from convrec.llm.batch.store import BatchRecord, BatchStore
from convrec.llm.endpoint import api_key, endpoint_name, open_endpoint
from convrec.llm.response_store import ResponseStore

CANCELLED_NOTE = "cancelled by us"


def cancel_batch(batch_key: str, config: Config, answers: ResponseStore) -> None:
    """Ask the endpoint to end a batch; the next run collects what it has done.

    Raises InputError for a batch that is unknown or has ended, that a run is at, or that is at
    another endpoint than the configuration's.
    """
    book = BatchStore(answers.store)
    with _open_row(batch_key, book) as row:
        if row.endpoint != (name := endpoint_name(config)):
            raise InputError(
                f"batch {batch_key!r} is for {row.endpoint}, and profile {config.profile!r} asks "
                f"{name}; give --profile the one that it was made for"
            )
        with open_endpoint(config, answers.store.home / "demo-endpoint") as base_url:
            llm, key = config.llm, api_key(config, base_url)
            with closing(BatchClient(base_url, key, llm.timeout, llm.max_attempts)) as control:
                batch_id = row.batch_id or (control.find_batch(batch_key) if row.file_id else "")
                if not batch_id:
                    book.end(row, "never submitted")
                    return
                # The note comes first: a run that waits may see the end before we return.
                book.note(row, batch_id=batch_id, state="submitted", note=CANCELLED_NOTE)
                control.cancel(batch_id)


def release_batch(batch_key: str, answers: ResponseStore) -> None:
    """Give up a batch that its endpoint has lost: its requests may be sent again.

    Raises InputError for a batch that is unknown or has ended, or that a run is at.
    """
    book = BatchStore(answers.store)
    with _open_row(batch_key, book) as row:
        book.end(row, "released by us")


@contextmanager
def _open_row(batch_key: str, book: BatchStore) -> Iterator[BatchRecord]:
    """A batch that nobody packs, submits or collects inside the block."""
    row = book.row(batch_key)
    if row is None or row.state == "ended":
        raise InputError(f"no open batch {batch_key!r}; `convrec llm batches` shows them")
    with book.holding(batch_key) as ours:
        row = book.row(batch_key)
        if not ours or row is None or row.state == "ended":
            raise InputError(
                f"a run is packing, submitting or collecting batch {batch_key!r} just now; look "
                "again with `convrec llm batches` once it is done"
            )
        yield row
