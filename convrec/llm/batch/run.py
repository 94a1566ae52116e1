"""Send requests in batches, and wait for the batches of other runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, suppress

from convrec.errors import ConfigError, EndpointError
from convrec.llm.batch.client import BatchClient
from convrec.llm.batch.sender import BatchSender
from convrec.llm.batch.store import BatchStore
from convrec.llm.context import FetchContext
from convrec.llm.endpoint import endpoint_name
from convrec.llm.requests import Request, distinct


def send_in_batches(
    requests: Collection[Request], missing: Iterator[Request], ctx: FetchContext
) -> None:
    """Get the responses to `missing` (those of `requests` without one) through the Batch API.

    Requests that a batch leaves without a response go into the next one, for at most
    `llm.batch.max_rounds` rounds. Raises EndpointError if a batch was refused or cancelled by
    `cancel_batch`. Raises BudgetExceeded if the budget might not cover all requests; those that it
    covers are still sent and waited for.
    """
    with closing(_open_client(ctx)) as client:
        sender = BatchSender(ctx, client)
        sender.reserve_open_batches()
        while True:
            sender.pack(missing)
            sender.wait()
            if not sender.needs_another_round():
                return
            wanted = sender.wanted
            missing = (request for request in distinct(requests) if request.key in wanted)


def wait_for_batches(requests: Iterable[Request], ctx: FetchContext) -> None:
    """Wait until none of `requests` is in an open batch.

    Batches of dead processes that were never submitted are dissolved, which frees their requests.
    """
    with closing(_open_client(ctx)) as client:
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
    with closing(_open_client(ctx)) as client:
        sender = BatchSender(ctx, client, submits=False)
        for record in submitted:
            with suppress(EndpointError, ConfigError):  # raised again where the batch is waited for
                sender.poll_batch(record.batch_key)


def _open_client(ctx: FetchContext) -> BatchClient:
    llm = ctx.config.llm
    return BatchClient(ctx.base_url, ctx.key, llm.timeout, llm.max_attempts)
