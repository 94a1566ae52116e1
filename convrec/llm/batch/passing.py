"""States of the Batch API that pass: a file in processing, a full queue, a batch not yet known.

An endpoint reports them with the same status codes as refusals, so the words decide.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from convrec.errors import EndpointError

Passing = Literal["file", "queue"]
"""What a refused creation waits for: the input file, or room in the queue of batches."""

PROCESSED = ("processed", "completed", "succeeded", "success", "ready", "active", "available")
"""Words for a file that a batch can be created from."""

BROKEN = ("error", "failed", "invalid", "deleted", "deleting", "expired", "cancelled", "canceled")
"""Words for a file that will never be processed."""

_FINAL_STATES = {
    **dict.fromkeys(("completed", "complete", "succeeded", "success", "done"), "completed"),
    **dict.fromkeys(("finished", "ended", "completed_with_errors"), "completed"),
    **dict.fromkeys(("failed", "failure", "error", "invalid"), "failed"),
    **dict.fromkeys(("aborted", "rejected", "terminated"), "failed"),
    **dict.fromkeys(("expired", "timeout_exceeded", "timed_out"), "expired"),
    **dict.fromkeys(("cancelled", "canceled", "stopped", "deleted"), "cancelled"),
}
"""Status of a batch, in lower case → the word of the OpenAI API."""

_STATE_PREFIX = re.compile(r".*stat(?:e|us)[_. ]")
"""As in `JOB_STATE_SUCCEEDED` and `BatchStatus.COMPLETED`."""

_NAMES_FILE = re.compile(r"\bfiles?\b|input_?file|\bfile-", re.I)
_NOT_YET = re.compile(
    r"not[ _-]?found|no such|(?:not|n't)[ _](?:exist|ready|available|yet|finished|been|find)"
    r"|cannot (?:find|be found)|could not find|not processed|pending|processing|in progress"
    r"|not in (?:an? )?\w+ state|being \w+ed"
    r"|still|running|wait|again|retry|later|uploaded|unprocessed",
    re.I,
)
_NEVER = re.compile(
    r"purpose|too (?:large|many|long)|exceed|\bempty\b|malformed|expired|deleted|unsupported", re.I
)
_NAMES_MODEL = re.compile(r"\b(?:model|deployment)\b", re.I)
_QUEUE_FULL = re.compile(
    r"enqueued[ _]tokens?|token_limit_exceeded|(?:batch|queue)\w*[ _](?:queue|quota|limit)"
    r"|(?:too many|maximum number of|limit of)(?: \w+){0,3} batch(?:es)?\b(?! per)"
    r"|maximum (?:\w+ ){0,2}batch|number of batches|queue is full",
    re.I,
)


class FileNotReadyError(EndpointError):
    """The endpoint does not know or has not processed the input file of a batch yet."""


class FileLostError(EndpointError):
    """The input file of a batch will never be processed."""


class NotFoundError(EndpointError):
    """The endpoint does not know a batch."""


class QueueFullError(EndpointError):
    """The endpoint takes no more batches until others have ended."""


def passing_refusal(status: int, text: str, *, has_api: bool = True) -> Passing | None:
    """What to wait for if a refused creation of a batch is worth another attempt.

    With `has_api` the endpoint is known to have a Batch API, so a 404 is not about its address.
    """
    if status in (400, 403, 429) and _QUEUE_FULL.search(text):
        return "queue"
    if status == 404 and has_api and not _NAMES_MODEL.search(text):
        return "file"
    is_file = status in (400, 404, 409, 422, 425) and _NAMES_FILE.search(text)
    return "file" if is_file and _NOT_YET.search(text) and not _NEVER.search(text) else None


def final_state(batch: Any) -> str:
    """`completed`, `failed`, `expired` or `cancelled`; empty if the batch goes on.

    An unknown word goes on, unless the batch has an output and the time of its end.
    """
    word = _STATE_PREFIX.sub("", str(batch.status).strip().lower())
    if word in _FINAL_STATES:
        return _FINAL_STATES[word]
    has_output = getattr(batch, "output_file_id", None) or getattr(batch, "error_file_id", None)
    return "completed" if has_output and getattr(batch, "completed_at", None) else ""


def done_count(batch: Any) -> int:
    """How many requests of a batch are done, as far as the endpoint says."""
    counts = getattr(batch, "request_counts", None)
    numbers = (getattr(counts, name, None) for name in ("completed", "failed"))
    return sum(number for number in numbers if isinstance(number, int))


def batch_errors(batch: Any) -> list[tuple[str, str]]:
    """(code, message on one line) of each error of a failed batch."""
    errors = getattr(batch, "errors", None)
    rows = getattr(errors, "data", errors)
    found = []
    for row in rows if isinstance(rows, list) else [rows] if rows else []:
        fields = row if isinstance(row, dict) else getattr(row, "__dict__", {"message": row})
        code, message = fields.get("code") or "", fields.get("message") or ""
        found.append((str(code or "no code"), " ".join(str(message).split())[:160]))
    return found
