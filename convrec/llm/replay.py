"""Replay: take answers from a file that the OpenAI Batch API wrote, at no cost.

Each line is bound to the request that we would have sent: by our own key, or, in files made
elsewhere, by the context that owns the request (`custom_id` = conversation id).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from convrec.artifacts.store import Store
from convrec.llm.batch.output import line_outcome, read_output_lines
from convrec.llm.client import Failure
from convrec.llm.fetch import FetchResult, reasons_by_context
from convrec.llm.prices import NO_USAGE
from convrec.llm.requests import Request
from convrec.llm.response import Response, make_response
from convrec.llm.response_store import ResponseStore


@dataclass(frozen=True)
class ImportResult(FetchResult):
    """A fetch from a file of `lines`; the numbers of others that nobody can read are `unreadable`.

    `bound` lines name a request of ours; of these `imported` were new answers, and `unusable` are
    none.
    """

    lines: int = 0
    bound: int = 0
    imported: int = 0
    unusable: int = 0
    unreadable: Sequence[int] = ()


def import_batch_output(
    path: Path, requests: Iterable[Request], store: Store, *, by_owner: bool = True
) -> ImportResult:
    """Store the answers that a Batch output file has for `requests`.

    A line names our request key or, with `by_owner`, a context that has one request here.
    A request with an error in its line, or with no line, is in `failures` with the reason; one that
    was answered before keeps that answer. Raises InputError where the file is missing or no line of
    it is Batch output.
    """
    by_id: dict[str, dict[str, Request]] = {}
    owned: dict[str, dict[str, Request]] = {}
    for request in requests:
        by_id[request.key] = {request.key: request}
        owned.setdefault(request.owner, {})[request.key] = request
    if by_owner:
        by_id |= {owner: asked for owner, asked in owned.items() if len(asked) == 1}
    found: dict[str, Response] = {}
    reasons: dict[str, str] = {}
    unreadable: list[int] = []
    lines = bound = 0
    for row in read_output_lines(path, lambda number, line: unreadable.append(number)):
        named = by_id.get(row["custom_id"], {})
        lines += 1
        bound += bool(named)
        for key, request in named.items():
            outcome = line_outcome(row, request)
            if isinstance(outcome, Failure):
                reasons[key] = f"{path.name}: {outcome.reason}"
            elif key not in found:
                found[key] = make_response(
                    request, outcome.response, NO_USAGE, 0.0, run="", stage="", origin="imported"
                )
    answers = ResponseStore(store)
    wanted = {request.key for request in requests}
    known = answers.digests(wanted).keys()
    answers.add([answer for key, answer in found.items() if key not in known])
    missing = wanted - known - found.keys()
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
        bound=bound,
        imported=len(found.keys() - known),
        unusable=len(reasons.keys() - found.keys()),
        unreadable=unreadable,
    )
