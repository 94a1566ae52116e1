"""Replay: import responses from an OpenAI Batch output file, at no cost.

A line belongs to a request by `custom_id`: our request key or, in files that convrec did not
order, the id of the conversation that owns the request.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from convrec.artifacts.store import Store
from convrec.errors import InputError
from convrec.llm.answer_check import Defect, FindDefect, no_defect
from convrec.llm.batch.output import line_outcome, read_output_lines
from convrec.llm.fetch import FetchResult, reasons_by_context
from convrec.llm.outcome import Failure
from convrec.llm.prices import NO_USAGE
from convrec.llm.requests import Request
from convrec.llm.response import Response, make_response
from convrec.llm.response_store import recovered_responses
from convrec.utils.file_content import reject_other_kinds


@dataclass(frozen=True)
class ImportResult(FetchResult):
    """The result of an import.

    `matched` of the readable `lines` belong to a request. `unusable` requests have only lines
    without a usable response. `unreadable` are the numbers of lines that are not Batch output.
    """

    lines: int = 0
    matched: int = 0
    imported: int = 0
    unusable: int = 0
    unreadable: Sequence[int] = ()


def import_batch_output(
    path: Path,
    requests: Iterable[Request],
    store: Store,
    *,
    by_owner: bool = True,
    find_defect: FindDefect = no_defect,
) -> ImportResult:
    """Store the responses that a Batch output file has for `requests`.

    With `by_owner` a line may also name a conversation that has exactly one request. Requests
    that are still without a response are in `failures`. Stored responses are never replaced.
    Raises InputError if the file is missing, if no line of it is Batch output, or if it has
    answers for `requests` and none of them can be used; then nothing is stored.
    """
    if path.is_file():
        reject_other_kinds(path, "an output file of the OpenAI Batch API")
    by_id: dict[str, Request] = {}
    by_context: dict[str, dict[str, Request]] = {}
    for request in requests:
        by_id[request.key] = request
        by_context.setdefault(request.owner, {})[request.key] = request
    wanted = set(by_id)
    if by_owner:
        only = {owner: [*group.values()] for owner, group in by_context.items() if len(group) == 1}
        by_id |= {owner: request for owner, (request,) in only.items()}
    found: dict[str, Response] = {}
    reasons: dict[str, str] = {}
    defects: list[Defect] = []
    unreadable: list[int] = []
    lines = matched = 0
    for row in read_output_lines(path, lambda number, line: unreadable.append(number)):
        lines += 1
        if (named := by_id.get(row["custom_id"])) is None:
            continue
        matched += 1
        outcome = line_outcome(row, named)
        if isinstance(outcome, Failure):
            reasons[named.key] = f"{path.name}: {outcome.reason}"
        elif named.key not in found:
            found[named.key] = make_response(
                named, outcome.response, NO_USAGE, 0.0, run="", stage="", origin="imported"
            )
            if defect := find_defect(named, json.loads(outcome.response)):
                defects.append(defect)
    if found and len(defects) == len(found):
        raise InputError(_nothing_usable(path, defects))
    responses = recovered_responses(store)
    stored = responses.digests(wanted).keys()
    responses.add([response for key, response in found.items() if key not in stored])
    missing = wanted - stored - found.keys()
    absent = f"{path.name} has no line for this conversation"
    if unreadable:
        absent += f" among those that can be read; line {unreadable[0]} cannot"
    failures = {key: reasons.get(key, absent) for key in sorted(missing)}
    return ImportResult(
        requests=len(wanted),
        from_ledger=len(wanted) - len(missing),
        failures=failures,
        reasons=reasons_by_context(requests, failures),
        lines=lines,
        matched=matched,
        imported=len(found.keys() - stored),
        unusable=len(reasons.keys() - found.keys()),
        unreadable=unreadable,
    )


def _nothing_usable(path: Path, defects: Sequence[Defect]) -> str:
    """Why a file is refused although it answers our requests."""
    return (
        f"none of the {len(defects)} answers in {path} to requests of this profile can be used: "
        f"{defects[0].reason}{defects[0].example()}. Nothing was stored; choose another file"
    )
