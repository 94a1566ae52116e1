"""The control calls of the Batch API, patient with an endpoint that stumbles.

Reads are repeated. The two calls that make something (upload, create) are never repeated blindly:
after a call that failed halfway we look whether it worked all the same.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from convrec.artifacts.identity import file_digest
from convrec.errors import EndpointError
from convrec.llm.batch.output import parse_output_line
from convrec.llm.client import Failure, connection_failure, status_failure
from convrec.llm.endpoint import is_loopback, public_url
from convrec.llm.spool import spool_write_error
from convrec.utils.files import atomic_path

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Batch

FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0
"""Seconds of back-off after the first failed attempt, and at most."""

METADATA_KEY = "convrec_batch"
PAGE_SIZE = 100

T = TypeVar("T")


class BatchClient:
    """Files and batches of one endpoint. Every method raises EndpointError where it gives up."""

    def __init__(self, base_url: str, key: str, timeout: float, max_attempts: int) -> None:
        self.url = public_url(base_url)
        self._key, self._attempts = key, max_attempts
        self._client = _client(base_url, key, timeout)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def upload(self, path: Path, name: str) -> str:
        """The id of the input file at the endpoint, uploaded unless it is there already."""

        def send() -> str:
            with path.open("rb") as file:
                made = self._client.files.create(file=(name, file), purpose="batch")
            return _id(made, "file")

        return self._once(send, lambda: self.find_file(name))

    def create(self, file_id: str, batch_key: str) -> str:
        """The id of the batch at the endpoint, created unless it is there already."""

        def send() -> str:
            return _id(
                self._client.batches.create(
                    input_file_id=file_id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                    metadata={METADATA_KEY: batch_key},
                ),
                "batch",
            )

        return self._once(send, lambda: self.find_batch(batch_key))

    def find_file(self, name: str) -> str:
        """The id of the newest batch input file of this name; empty if there is none."""

        def look() -> str:
            for file in _listed(self._client.files.list(purpose="batch", limit=PAGE_SIZE)):
                if file.filename == name:
                    return _id(file, "file")
            return ""

        return self._patiently(look)

    def find_batch(self, batch_key: str) -> str:
        """The id of the batch with our key in its metadata; empty if there is none."""

        def look() -> str:
            for batch in _listed(self._client.batches.list(limit=PAGE_SIZE)):
                if (batch.metadata or {}).get(METADATA_KEY) == batch_key:
                    return _id(batch, "batch")
            return ""

        return self._patiently(look)

    def batch(self, batch_id: str) -> Batch:
        """How the batch stands."""

        def look() -> Batch:
            batch = self._client.batches.retrieve(batch_id)
            _id(batch, "batch")
            if not isinstance(batch.status, str):
                raise ValueError("a batch without a status")
            return batch

        return self._patiently(look)

    def cancel(self, batch_id: str) -> None:
        """Ask the endpoint to stop working on a batch; what it has done is kept and billed."""
        self._patiently(lambda: _id(self._client.batches.cancel(batch_id), "batch"))

    def download(self, file_id: str, path: Path) -> None:
        """Write a file of the endpoint to `path`, whole or not at all.

        Lines among others that nobody can read are the endpoint's own where they come twice alike.
        """
        before = ""

        def fetch() -> None:
            nonlocal before
            with atomic_path(path) as part:
                with self._client.files.with_streaming_response.content(file_id) as response:
                    _write(part, response)
                    plain = not response.headers.get("content-encoding")
                    length = response.headers.get("content-length")
                if plain and length and int(length) != part.stat().st_size:
                    raise ValueError("a download that broke off")
                if _unreadable(part):
                    last, before = before, file_digest(part)
                    if last != before:
                        raise ValueError("a line that is none of Batch output")

        self._patiently(fetch)

    # -- patience ------------------------------------------------------------------------------

    def _once(self, send: Callable[[], str], look: Callable[[], str]) -> str:
        """Do what must happen once: before each attempt, look whether it has happened."""
        return self._patiently(lambda: look() or send())

    def _patiently(self, act: Callable[[], T]) -> T:
        failure = Failure("transient", "no attempt")
        for attempt in range(self._attempts):
            if attempt:
                backoff = min(FIRST_DELAY * 2 ** (attempt - 1), LONGEST_DELAY)
                time.sleep(max(backoff * random.uniform(0.5, 1.5), failure.retry_after))
            result = self._try(act)
            if not isinstance(result, Failure):
                return result
            if result.kind != "transient":
                raise EndpointError(result.reason)
            failure = result
        raise EndpointError(
            f"the Batch API of {self.url} failed {self._attempts} times, the last time: "
            f"{failure.reason}; what was submitted goes on there, so run again to go on from here"
        )

    def _try(self, act: Callable[[], T]) -> T | Failure:
        import openai

        try:
            return act()
        except openai.APIConnectionError as error:
            return connection_failure(self.url, error)
        except openai.APIStatusError as error:
            return self._status(error)
        except (openai.APIResponseValidationError, ValueError, AttributeError, TypeError):
            return Failure("transient", "the response is broken")

    def _status(self, error: Any) -> Failure:
        if error.status_code in (404, 405):
            path = error.request.url.path
            return Failure(
                "terminal",
                f"{self.url} knows no {path} (HTTP {error.status_code}): where it has no Batch "
                "API set recommend.source=live and reflect.source=live; where it lost a batch, "
                "`convrec llm batches` shows it, and --release KEY sets its requests free",
            )
        failure = status_failure(self.url, self._key, error, {})
        if failure.kind == "request":
            return Failure("terminal", f"{self.url} refused the batch: {failure.reason}")
        return failure


def _id(thing: Any, kind: str) -> str:
    """The id of the `file` or `batch` that came back. Raises ValueError for anything else."""
    found = getattr(thing, "id", None)
    if not isinstance(found, str) or not found or getattr(thing, "object", None) != kind:
        raise ValueError(f"a response that is no {kind}")
    return found


def _listed(page: Any) -> Iterator[Any]:
    """Everything from a page on. Raises ValueError for a page that is none: nothing listed and no
    list are not the same.
    """
    while True:
        if not isinstance(page.data, list):
            raise ValueError("a response that is no list")
        yield from page.data
        if not page.has_next_page():
            return
        page = page.get_next_page()


def _write(path: Path, response: Any) -> None:
    """Write a streamed body. Raises ValueError where it breaks off, WarehouseError on a full disk.

    What a broken stream raises depends on the HTTP library that `openai` happens to use.
    """
    blocks = response.iter_bytes(1 << 20)
    try:
        with path.open("wb") as file:
            while True:
                try:
                    block = next(blocks, b"")
                except Exception:
                    raise ValueError("a download that broke off") from None
                if not block:
                    return
                file.write(block)
    except OSError as error:
        raise spool_write_error(path.parent, error) from None


def _unreadable(path: Path) -> int:
    """How many lines are none of Batch output.

    Raises ValueError where all are, or the last one breaks off.
    """
    readable = unreadable = 0
    line = b""
    with path.open("rb") as file:
        for line in filter(bytes.strip, file):
            good = parse_output_line(line) is not None
            readable, unreadable = readable + good, unreadable + (not good)
    if unreadable and (not readable or not (good or line.endswith(b"\n"))):
        raise ValueError("a download that broke off")
    return unreadable


def _client(base_url: str, key: str, timeout: float) -> OpenAI:
    import openai

    http_client = openai.DefaultHttpxClient(trust_env=False) if is_loopback(base_url) else None
    return openai.OpenAI(
        api_key=key, base_url=base_url, timeout=timeout, max_retries=0, http_client=http_client
    )
