"""Read Batch output and error files: what each line means for its request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from convrec.errors import InputError
from convrec.llm.outcome import Failure, Success, error_failure, mask_key
from convrec.llm.requests import Request
from convrec.llm.response_body import parse_response
from convrec.utils.file_content import text_lines


def read_output_lines(
    path: Path, on_unreadable: Callable[[int, bytes], object] = lambda number, line: None
) -> Iterator[dict[str, Any]]:
    """Yield the lines of an output or error file as objects with `custom_id` and `response`.

    The file may be compressed. `on_unreadable` is called with the number (from 1) and the bytes of
    every other line. Raises InputError if the file cannot be read or no line is Batch output.
    """
    readable = first_unreadable = 0
    with text_lines(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            if (row := parse_output_line(line)) is None:
                first_unreadable = first_unreadable or number
                on_unreadable(number, line)
            else:
                readable += 1
                yield row
    if first_unreadable and not readable:
        raise InputError(
            f"{path}, line {first_unreadable} is not a line of Batch output, and neither is any "
            "other. Each must be a JSON object with custom_id, response and error; download the "
            "file again"
        )


def parse_output_line(line: bytes) -> dict[str, Any] | None:
    """A line of a Batch output file as an object; None if it is not one."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_output = (
        isinstance(row, dict) and isinstance(row.get("custom_id"), str) and "response" in row
    )
    return row if is_output else None


def line_outcome(
    row: Mapping[str, Any], request: Request, *, url: str = "the batch", key: str = ""
) -> Success | Failure:
    """The response in a line, or why it holds none.

    Server errors, and requests that an expired or cancelled batch did not run, are transient.
    """
    response, error = row.get("response"), row.get("error")
    if not isinstance(response, dict):
        return _unanswered(error, request, url, key)
    status, body = response.get("status_code"), response.get("body")
    if error or status != 200:
        details = body if body and not (isinstance(body, dict) and body.get("choices")) else error
        number = status if isinstance(status, int) and status != 200 else 500
        failure = error_failure(url, key, number, details, request.body)
        return Failure(failure.kind, f"the batch reports {failure.reason}", failure.status)
    return parse_response(mask_key(json.dumps(body), key), request.body, url=url, key=key)


def _unanswered(error: object, request: Request, url: str, key: str) -> Failure:
    """Why a line has no response; transient unless its error says that nothing will change."""
    failure = error_failure(url, key, 0, error, request.body)
    if failure.kind == "transient":
        code = error.get("code") if isinstance(error, dict) else None
        return Failure("transient", f"the batch reports {code or 'no response'}")
    return Failure(failure.kind, f"the batch reports {failure.reason}", failure.status)
