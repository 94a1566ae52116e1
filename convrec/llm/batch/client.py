"""Client of the Files and Batch APIs, with retries.

Reads are repeated. Uploads and creations are not: after one that failed midway, the client first
looks whether it succeeded nevertheless. States that pass are waited for: a file that is not
processed yet, and a rate limit.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from convrec.artifacts.identity import file_digest
from convrec.errors import EndpointError
from convrec.llm.batch.output import parse_output_line
from convrec.llm.batch.passing import (
    BROKEN,
    PROCESSED,
    FileLostError,
    FileNotReadyError,
    NotFoundError,
    QueueFullError,
    passing_refusal,
)
from convrec.llm.endpoint import is_loopback, public_url
from convrec.llm.error_body import read_error
from convrec.llm.outcome import Failure, connection_failure, shown_message, status_failure
from convrec.llm.spool import spool_write_error
from convrec.utils.files import atomic_path

if TYPE_CHECKING:
    from openai.types import Batch

INITIAL_DELAY, MAX_DELAY = 0.5, 60.0
"""Seconds of back-off after the first failed attempt, and at most."""

PASSING_SECONDS = 3600.0
"""How long a state that passes is waited for: a rate limit, a file in processing."""

UPLOADED_POLLS = 5
"""Polls of a file that stays `uploaded`; some endpoints know no other word."""

MAX_ERROR_CHARACTERS = 2000

METADATA_KEY = "convrec_batch"
PAGE_SIZE = 100

P = ParamSpec("P")
T = TypeVar("T")


def _with_retries(
    method: Callable[Concatenate[BatchClient, P], T],
) -> Callable[Concatenate[BatchClient, P], T]:
    """Repeat a method after transient failures. Raises EndpointError when it gives up."""

    @functools.wraps(method)
    def retried(client: BatchClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        import openai

        failure = Failure("transient", "no attempt")
        deadline = time.monotonic() + PASSING_SECONDS
        attempts = pauses = 0
        while attempts < client.max_attempts:
            if attempts or pauses:
                delay = _backoff(attempts + pauses) * random.uniform(0.5, 1.5)
                time.sleep(max(delay, failure.retry_after))
            try:
                return method(client, *args, **kwargs)
            except openai.APIConnectionError as error:
                failure = connection_failure(client.url, error)
            except openai.APIStatusError as error:
                failure = client.status_failure(error)
            except (openai.APIResponseValidationError, ValueError, AttributeError, TypeError):
                failure = Failure("transient", "the response is broken")
            if failure.kind != "transient":
                raise EndpointError(failure.reason)
            if failure.status == 429 and time.monotonic() < deadline:
                pauses += 1
            else:
                attempts += 1
        raise EndpointError(
            f"the Batch API of {client.url} failed {client.max_attempts} times, most recently: "
            f"{failure.reason}. Submitted batches continue there; run again to continue"
        )

    return retried


def _backoff(attempt: int) -> float:
    """Seconds to wait after this attempt, counted from 1."""
    return float(min(INITIAL_DELAY * 2 ** min(attempt - 1, 20), MAX_DELAY))


class UploadedFile(NamedTuple):
    """The endpoint's id of a file, and its status in lower case; empty if it is not known."""

    file_id: str
    status: str = ""


class BatchClient:
    """Files and batches of one endpoint. Every method raises EndpointError when it gives up."""

    def __init__(self, base_url: str, key: str, timeout: float, max_attempts: int) -> None:
        import openai

        self.url = public_url(base_url)
        self._key, self.max_attempts = key, max_attempts
        self.can_list = True
        """Whether the endpoint lists files and batches, as far as it is known."""
        self._unsure = ""
        local = openai.DefaultHttpxClient(trust_env=False) if is_loopback(base_url) else None
        self._client = openai.OpenAI(
            api_key=key, base_url=base_url, timeout=timeout, max_retries=0, http_client=local
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @_with_retries
    def upload_file(self, path: Path, name: str) -> UploadedFile:
        """Upload an input file, unless one of that name exists."""
        if found := self._find_file(name):
            return UploadedFile(found)
        with path.open("rb") as file:
            created = self._client.files.create(file=(name, file), purpose="batch")
        return UploadedFile(_object_id(created, "file"), _file_status(created))

    def create_batch(self, file: UploadedFile, batch_key: str) -> str:
        """The endpoint's id of a batch; creates it unless one with this key exists.

        Waits while the endpoint processes the file or does not know it yet. Raises QueueFullError
        if other batches have to end first.
        """
        if file.status and file.status not in PROCESSED:
            self._await_file(file)
        for attempt in range(1, self.max_attempts + 1):
            try:
                return self._create_batch(file.file_id, batch_key)
            except FileNotReadyError as refusal:
                if attempt == self.max_attempts:
                    raise FileNotReadyError(
                        f"{refusal} ({attempt} attempts). The file is kept there; run again to "
                        "continue"
                    ) from None
            time.sleep(_backoff(attempt))
            self._await_file(UploadedFile(file.file_id, self._get_status(file.file_id)))
        raise AssertionError("max_attempts is positive")

    @_with_retries
    def _create_batch(self, file_id: str, batch_key: str) -> str:
        if found := self.find_batch(batch_key):
            return found
        if self._unsure == batch_key and not self.can_list:
            raise EndpointError(
                f"{self.url} may have created batch {batch_key}: it did not answer, and it does "
                "not list its batches. Look there; if it has none, free the requests with "
                f"`convrec llm batches --release {batch_key}`"
            )
        self._unsure = batch_key
        created = self._client.batches.create(
            input_file_id=file_id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={METADATA_KEY: batch_key},
        )
        return _object_id(created, "batch")

    def _await_file(self, file: UploadedFile) -> None:
        """Wait until a file is processed, or its status is not known.

        Raises EndpointError if it never will be, or is not after PASSING_SECONDS.
        """
        deadline, polls, status = time.monotonic() + PASSING_SECONDS, 0, file.status
        while status and status not in PROCESSED:
            if status in BROKEN:
                raise FileLostError(
                    f"{self.url} cannot use the input file {file.file_id} of a batch: its status "
                    f"is {status!r}. Nothing was run or billed; run again to upload another"
                )
            if status == "uploaded" and polls >= UPLOADED_POLLS:
                return
            if time.monotonic() > deadline:
                raise FileNotReadyError(
                    f"the input file {file.file_id} of a batch at {self.url} has been {status!r} "
                    f"for {PASSING_SECONDS / 60:.0f} minutes. It is kept there; run again later"
                )
            polls += 1
            time.sleep(_backoff(polls))
            status = self._get_status(file.file_id)

    @_with_retries
    def _get_status(self, file_id: str) -> str:
        """The status of a file; empty where the endpoint does not tell."""
        import openai

        try:
            return _file_status(self._client.files.retrieve(file_id))
        except openai.APIStatusError as error:
            if error.status_code in (400, 403, 404, 405, 501):
                return ""
            raise

    @_with_retries
    def _find_file(self, name: str) -> str:
        """The id of the newest batch input file of this name; empty if none is listed."""
        for file in self._all_pages(self._client.files.list, purpose="batch"):
            if file.filename == name:
                return _object_id(file, "file")
        return ""

    @_with_retries
    def find_batch(self, batch_key: str) -> str:
        """The id of the batch with our key in its metadata; empty if none is listed."""
        for batch in self._all_pages(self._client.batches.list):
            if (batch.metadata or {}).get(METADATA_KEY) == batch_key:
                return _object_id(batch, "batch")
        return ""

    @_with_retries
    def get_batch(self, batch_id: str) -> Batch:
        """The current state of a batch."""
        batch = self._client.batches.retrieve(batch_id)
        _object_id(batch, "batch")
        if not isinstance(batch.status, str):
            raise ValueError("a batch without a status")
        return batch

    @_with_retries
    def cancel_batch(self, batch_id: str) -> None:
        """Cancel a batch at the endpoint; what it has done is kept and billed."""
        _object_id(self._client.batches.cancel(batch_id), "batch")

    def _all_pages(self, list_objects: Callable[..., Any], **options: Any) -> Iterator[Any]:
        """The objects of a list; nothing where the endpoint has no such list."""
        import openai

        try:
            page = list_objects(limit=PAGE_SIZE, **options)
        except openai.APIStatusError as error:
            if error.status_code not in (404, 405, 501):
                raise
            self.can_list = False
            return
        yield from _page_items(page)

    def download_file(self, file_id: str, path: Path) -> None:
        """Download a file to `path`, completely or not at all.

        A file with unreadable lines is downloaded again, and accepted if it is the same twice.
        """
        self._download(file_id, path, [])

    @_with_retries
    def _download(self, file_id: str, path: Path, digests: list[str]) -> None:
        """One attempt; `digests` are those of earlier downloads with unreadable lines."""
        with atomic_path(path) as part:
            with self._client.files.with_streaming_response.content(file_id) as response:
                _write_stream(part, response)
                is_plain = not response.headers.get("content-encoding")
                length = response.headers.get("content-length")
            if is_plain and length and int(length) != part.stat().st_size:
                raise ValueError("a truncated download")
            if _count_unreadable(part):
                digests.append(file_digest(part))
                if digests[-2:-1] != digests[-1:]:
                    raise ValueError("a line that is not Batch output")

    def status_failure(self, error: Any) -> Failure:
        """What an HTTP error status of the Files or Batch API means.

        Raises FileNotReadyError or QueueFullError for a creation that is refused for now.
        """
        request = error.request
        if request.method == "POST" and request.url.path.endswith("/batches"):
            text = error.response.text[:MAX_ERROR_CHARACTERS]
            passing = passing_refusal(error.status_code, text, has_api=self.can_list)
            self._unsure = self._unsure if error.status_code >= 500 else ""
            shown = shown_message(read_error(text), self._key, {}) or "no reason"
            reason = f"{self.url} refuses a batch for now: {shown}"
            if passing == "queue":
                raise QueueFullError(reason)
            if passing == "file":
                raise FileNotReadyError(reason)
            if error.status_code == 404 and self.can_list:
                return Failure("terminal", f"{self.url} refused the batch: {shown}")
        if error.status_code in (404, 405):
            path = request.url.path
            reason = (
                f"{self.url} does not have {path} (HTTP {error.status_code}). If it has no Batch "
                "API, set recommend.source=live and reflect.source=live. If it lost a batch, find "
                "its key with `convrec llm batches` and free its requests with --release KEY"
            )
            if request.method == "GET" and "/batches/" in path:
                raise NotFoundError(reason)
            return Failure("terminal", reason)
        failure = status_failure(self.url, self._key, error, {})
        if failure.kind == "request":
            return Failure("terminal", f"{self.url} refused the batch: {failure.reason}")
        return failure


def _file_status(file: Any) -> str:
    status = getattr(file, "status", None)
    return status.strip().lower() if isinstance(status, str) else ""


def _object_id(value: Any, kind: str) -> str:
    """The id of a `file` or `batch` object. Raises ValueError for anything else."""
    found = getattr(value, "id", None)
    if not isinstance(found, str) or not found or getattr(value, "object", None) != kind:
        raise ValueError(f"a response that is not a {kind}")
    return found


def _page_items(page: Any) -> Iterator[Any]:
    """The items of a page and of those after it. Raises ValueError if a page is not a list."""
    while True:
        if not isinstance(page.data, list):
            raise ValueError("a response that is not a list")
        yield from page.data
        if not page.has_next_page():
            return
        page = page.get_next_page()


def _write_stream(path: Path, response: Any) -> None:
    """Write a streamed body to a file.

    Raises ValueError if the stream breaks, WarehouseError if the file cannot be written.
    """
    blocks = response.iter_bytes(1 << 20)
    try:
        with path.open("wb") as file:
            while True:
                try:
                    block = next(blocks, b"")
                except Exception:  # which one depends on the HTTP library of `openai`
                    raise ValueError("a truncated download") from None
                if not block:
                    return
                file.write(block)
    except OSError as error:
        raise spool_write_error(path.parent, error) from None


def _count_unreadable(path: Path) -> int:
    """The number of lines that are not Batch output.

    Raises ValueError if no line is Batch output, or the last one is cut off.
    """
    readable = unreadable = 0
    line = b""
    with path.open("rb") as file:
        for line in filter(bytes.strip, file):
            is_readable = parse_output_line(line) is not None
            readable, unreadable = readable + is_readable, unreadable + (not is_readable)
    if unreadable and (not readable or not (is_readable or line.endswith(b"\n"))):
        raise ValueError("a truncated download")
    return unreadable
