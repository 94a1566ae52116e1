"""Manual operations: cancel a batch at the endpoint, or release one that the endpoint lost."""

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
RELEASED_NOTE = "released by us"
NEVER_SUBMITTED_NOTE = "never submitted"
"""Values of `llm_batches.note`."""


def cancel_batch(batch_key: str, config: Config, responses: ResponseStore) -> None:
    """Cancel a batch at the endpoint; the next run collects what it has done.

    Raises InputError if the batch is unknown, has ended, is in use by a run, or belongs to another
    endpoint than that of `config`.
    """
    batch_store = BatchStore(responses.store)
    with _open_record(batch_key, batch_store) as record:
        if record.endpoint != (name := endpoint_name(config)):
            raise InputError(
                f"batch {batch_key!r} belongs to endpoint {record.endpoint}, and profile "
                f"{config.profile!r} uses {name}. Choose the profile of the batch with --profile"
            )
        with open_endpoint(config, responses.store.home / "demo-endpoint") as base_url:
            llm, key = config.llm, api_key(config, base_url)
            with closing(BatchClient(base_url, key, llm.timeout, llm.max_attempts)) as client:
                batch_id = record.batch_id
                if not batch_id and record.file_id:
                    batch_id = client.find_batch(batch_key)
                if not batch_id:
                    batch_store.end(record, NEVER_SUBMITTED_NOTE)
                    return
                # The note comes first: a waiting run may see the end before this call returns.
                batch_store.update(
                    record, batch_id=batch_id, state="submitted", note=CANCELLED_NOTE
                )
                client.cancel_batch(batch_id)


def release_batch(batch_key: str, responses: ResponseStore) -> None:
    """Give up a batch that its endpoint has lost, so that its requests can be sent again.

    Raises InputError if the batch is unknown, has ended, or is in use by a run.
    """
    batch_store = BatchStore(responses.store)
    with _open_record(batch_key, batch_store) as record:
        batch_store.end(record, RELEASED_NOTE)


@contextmanager
def _open_record(batch_key: str, batch_store: BatchStore) -> Iterator[BatchRecord]:
    """An open batch, locked for the length of the block."""
    record = batch_store.record(batch_key)
    if record is None or record.state == "ended":
        raise InputError(f"no open batch {batch_key!r}. `convrec llm batches` lists them")
    with batch_store.try_lock(batch_key) as is_locked:
        record = batch_store.record(batch_key)
        if not is_locked or record is None or record.state == "ended":
            raise InputError(
                f"a run is packing, submitting or collecting batch {batch_key!r} right now. Check "
                "`convrec llm batches` and try again later"
            )
        yield record
