"""What runs and people do with batches: send requests, wait, collect, cancel, release."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager, suppress

from convrec.config import Config
from convrec.errors import ConfigError, EndpointError, InputError
from convrec.llm.batch.client import BatchClient
from convrec.llm.batch.sender import BatchSender
from convrec.llm.batch.store import (
    CANCELLED_NOTE,
    NEVER_SUBMITTED_NOTE,
    RELEASED_NOTE,
    BatchRecord,
    BatchStore,
)
from convrec.llm.endpoint import api_key, endpoint_name, open_endpoint
from convrec.llm.fetch_context import FetchContext
from convrec.llm.requests import Request, distinct
from convrec.llm.response_store import ResponseStore


def send_in_batches(
    requests: Collection[Request], missing: Iterator[Request], ctx: FetchContext
) -> None:
    """Get the responses to `missing` (those of `requests` without one) through the Batch API.

    Requests that a batch leaves without a response go into the next one, for at most
    `llm.batch.max_rounds` rounds. Raises EndpointError if a batch was refused or cancelled by
    `cancel_batch`. Raises BudgetExceeded if the budget might not cover all requests; those that it
    covers are still sent and waited for. Raises TooManyFailures if `ctx.check` does.
    """
    with _open_client(ctx.config, ctx.base_url, ctx.key) as client:
        sender = BatchSender(ctx, client)
        sender.reserve_open_batches()
        while True:
            sender.pack(missing)
            sender.wait()
            ctx.settle_check()
            if not sender.needs_another_round():
                return
            wanted = sender.wanted
            missing = (request for request in distinct(requests) if request.key in wanted)


def wait_for_batches(requests: Iterable[Request], ctx: FetchContext) -> None:
    """Wait until none of `requests` is in an open batch.

    Batches of dead processes that were never submitted are dissolved, which frees their requests.
    """
    with _open_client(ctx.config, ctx.base_url, ctx.key) as client:
        sender = BatchSender(ctx, client, submits=False)
        sender.wanted = {request.key for request in requests}
        sender.wait()


def collect_ended(ctx: FetchContext) -> None:
    """Collect ended batches of earlier runs, even if their responses are not needed now.

    They are paid for. Another setting or catalog may have changed the requests since.
    """
    name = endpoint_name(ctx.config)
    submitted = [
        record
        for record in BatchStore(ctx.responses.store).records()
        if (record.state, record.endpoint) == ("submitted", name) and record.run != ctx.run
    ]
    if not submitted:
        return
    with _open_client(ctx.config, ctx.base_url, ctx.key) as client:
        sender = BatchSender(ctx, client, submits=False)
        for record in submitted:
            with suppress(EndpointError, ConfigError):  # raised again where the batch is waited for
                sender.poll_batch(record.batch_key)


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
        with (
            open_endpoint(config, responses.store.home / "demo-endpoint") as base_url,
            _open_client(config, base_url, api_key(config, base_url)) as client,
        ):
            batch_id = record.batch_id
            if not batch_id and record.file_id:
                batch_id = client.find_batch(batch_key)
            if not batch_id:
                batch_store.end(record, NEVER_SUBMITTED_NOTE)
                return
            # The note comes first: a waiting run may see the end before this call returns.
            batch_store.update(record, batch_id=batch_id, state="submitted", note=CANCELLED_NOTE)
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


def _open_client(config: Config, base_url: str, key: str) -> closing[BatchClient]:
    return closing(BatchClient(base_url, key, config.llm.timeout, config.llm.max_attempts))
