"""One LLM response with its request and its cost: a row of the spool."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from convrec.llm.prices import Usage
from convrec.llm.requests import Request


@dataclass(frozen=True)
class Response:
    """One response as received, and what it cost.

    `response` is the raw JSON text; empty if the endpoint billed without a usable response.
    `origin` is `live`, `batch` or `imported`; imported responses are not in the ledger.
    `created_at` (UTC, ISO 8601 with microseconds) and `key` identify a purchase.
    """

    key: str
    endpoint: str
    model: str
    body: str
    response: str
    origin: str
    created_at: str
    run: str = ""
    stage: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    usd: float = 0.0
    owner: str = ""


def make_response(
    request: Request,
    response: str,
    usage: Usage,
    usd: float,
    *,
    run: str,
    stage: str,
    origin: str = "live",
    created_at: datetime | None = None,
) -> Response:
    """The raw `response` to a request, received at `created_at` (default: now), and its cost."""
    moment = (created_at or datetime.now(UTC)).replace(tzinfo=None)
    return Response(
        key=request.key,
        owner=request.owner,
        endpoint=request.endpoint,
        model=request.model,
        body=request.body_json,
        response=response,
        origin=origin,
        created_at=moment.isoformat(timespec="microseconds"),
        run=run,
        stage=stage,
        prompt_tokens=usage.prompt,
        cached_tokens=usage.cached,
        completion_tokens=usage.completion,
        reasoning_tokens=usage.reasoning,
        usd=usd,
    )
