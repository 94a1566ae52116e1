"""Reading Batch output and error files: what each line means for the request that it names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from convrec.errors import InputError
from convrec.llm.client import Failure, Success, error_failure, mask_key, parse_response
from convrec.llm.requests import Request


def read_output_lines(
    path: Path, unreadable: Callable[[int, bytes], object] = lambda number, line: None
) -> Iterator[dict[str, Any]]:
    """The lines of an output or error file, as objects with `custom_id` and `response`.

    `unreadable` is told of every other line and its number, from 1. Raises InputError for a file
    that cannot be read, or in which no line is one of Batch output.
    """
    readable = first = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                if (row := parse_output_line(line)) is None:
                    first = first or number
                    unreadable(number, line)
                else:
                    readable += 1
                    yield row
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); give the path of an OpenAI Batch output "
            "file"
        ) from None
    if first and not readable:
        raise InputError(
            f"{path}, line {first} is not a line of Batch output, and none after it is: each is a "
            "JSON object with custom_id, response and error; download the file again"
        )


def parse_output_line(line: bytes) -> dict[str, Any] | None:
    """A line of Batch output; None for what is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    good = isinstance(row, dict) and isinstance(row.get("custom_id"), str) and "response" in row
    return row if good else None


def line_outcome(
    row: Mapping[str, Any], request: Request, *, url: str = "the batch", key: str = ""
) -> Success | Failure:
    """The answer in a line, or why it holds none.

    Requests that were never run (an expired or cancelled batch) and server errors are transient.
    """
    response, error = row.get("response"), row.get("error")
    if not isinstance(response, dict):
        code = error.get("code") if isinstance(error, dict) else None
        return Failure("transient", f"the batch reports {code or 'no response'}")
    status, body = response.get("status_code"), response.get("body")
    if error or status != 200:
        said = body.get("error") if isinstance(body, dict) else error
        said = said if isinstance(said, dict) else error
        number = status if isinstance(status, int) and status != 200 else 500
        failure = error_failure(
            url, key, number, said if isinstance(said, dict) else {}, request.body
        )
        return Failure(failure.kind, f"the batch reports {failure.reason}", failure.status)
    return parse_response(mask_key(json.dumps(body), key), request.body)
