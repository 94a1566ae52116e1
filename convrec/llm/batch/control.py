"""The control calls of the Batch API, patient with an endpoint that stumbles.

Reads are repeated. The two calls that make something (upload, create) are never repeated blindly:
after a call that failed halfway we look whether it worked all the same.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from convrec.errors import EndpointError
from convrec.llm.calls import Failure, not_connected, refused
from convrec.llm.endpoint import is_loopback, public_url

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Batch

FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0
"""Seconds of back-off after the first failed attempt, and at most."""

METADATA = "convrec_batch"
PAGE = 100

T = TypeVar("T")


class Control:
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
                return _id(self._client.files.create(file=(name, file), purpose="batch"))

        return self._once(send, lambda: self.find_file(name))

    def create(self, file_id: str, batch_key: str) -> str:
        """The id of the batch at the endpoint, created unless it is there already."""

        def send() -> str:
            return _id(
                self._client.batches.create(
                    input_file_id=file_id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                    metadata={METADATA: batch_key},
                )
            )

        return self._once(send, lambda: self.find_batch(batch_key))

    def find_file(self, name: str) -> str:
        """The id of the newest batch input file of this name; empty if there is none."""

        def look() -> str:
            for file in self._client.files.list(purpose="batch", limit=PAGE):
                if file.filename == name:
                    return _id(file)
            return ""

        return self._patiently(look)

    def find_batch(self, batch_key: str) -> str:
        """The id of the batch with our key in its metadata; empty if there is none."""

        def look() -> str:
            for batch in self._client.batches.list(limit=PAGE):
                if (batch.metadata or {}).get(METADATA) == batch_key:
                    return _id(batch)
            return ""

        return self._patiently(look)

    def batch(self, batch_id: str) -> Batch:
        """How the batch stands."""

        def look() -> Batch:
            batch = self._client.batches.retrieve(batch_id)
            _id(batch)
            if not isinstance(batch.status, str):
                raise ValueError("a batch without a status")
            return batch

        return self._patiently(look)

    def cancel(self, batch_id: str) -> None:
        """Ask the endpoint to stop working on a batch; what it has done is kept and billed."""
        self._patiently(lambda: _id(self._client.batches.cancel(batch_id)))

    def download(self, file_id: str, path: Path) -> None:
        """Write a file of the endpoint to `path`, whole or not at all."""
        part = path.with_suffix(".part")

        def fetch() -> None:
            with self._client.files.with_streaming_response.content(file_id) as response:
                with part.open("wb") as file:
                    for block in response.iter_bytes(1 << 20):
                        file.write(block)
                length = response.headers.get("content-length")
                if length and not response.headers.get("content-encoding"):
                    if int(length) != part.stat().st_size:
                        raise ValueError("a download that broke off")
            _check_lines(part)
            os.replace(part, path)

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
            return not_connected(self.url, error)
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
                "API set recommend.source=live and reflect.source=live; where the batch was deleted "
                "there, `convrec llm batches` shows it, and --release KEY sets its requests free",
            )
        failure = refused(self.url, self._key, error, {})
        if failure.kind == "request":
            return Failure("terminal", f"{self.url} refused the batch: {failure.reason}")
        return failure


def _id(thing: Any) -> str:
    """The id of what came back. Raises ValueError for a response that is no such object."""
    found = getattr(thing, "id", None)
    if not isinstance(found, str) or not found:
        raise ValueError("a response without an id")
    return found


def _check_lines(path: Path) -> None:
    """Raise ValueError where a file does not end with a whole line of JSON."""
    last = b""
    with path.open("rb") as file:
        for line in file:
            last = line if line.strip() else last
    if last:
        json.loads(last)


def _client(base_url: str, key: str, timeout: float) -> OpenAI:
    import openai

    http_client = openai.DefaultHttpxClient(trust_env=False) if is_loopback(base_url) else None
    return openai.OpenAI(
        api_key=key, base_url=base_url, timeout=timeout, max_retries=0, http_client=http_client
    )
