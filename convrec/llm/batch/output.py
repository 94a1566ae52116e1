"""Reading Batch output and error files: what each line means for the request that it names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from convrec.errors import InputError
from convrec.llm.calls import Answered, Failure, masked, read_response, refusal
from convrec.llm.requests import Request


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of an output or error file, as objects with `custom_id` and `response`.

    Raises InputError for a file that cannot be read, or a line that is none of Batch output.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _line(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(
            f"{path} cannot be read ({reason}); give the path of an OpenAI Batch output file"
        ) from None


def read_outcome(
    row: Mapping[str, Any], request: Request, *, url: str = "the batch", key: str = ""
) -> Answered | Failure:
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
        failure = refusal(url, key, number, said if isinstance(said, dict) else {}, request.body)
        return Failure(failure.kind, f"the batch reports {failure.reason}", failure.status)
    return read_response(masked(json.dumps(body), key), request.body)


def _line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if isinstance(row, dict) and isinstance(row.get("custom_id"), str) and "response" in row:
        return row
    raise InputError(
        f"{path}, line {number} is not a line of Batch output: each is a JSON object with "
        "custom_id, response and error; download the file again, or take that line out"
    )
