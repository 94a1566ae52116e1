"""What requests will cost before they are sent: an upper bound for one, a bracket for many."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from convrec.llm.calls import prompt_bytes
from convrec.llm.prices import Usage, cost, price_of
from convrec.llm.requests import Request

if TYPE_CHECKING:
    from convrec.artifacts.store import Store
    from convrec.config import Config, Price

UNBOUNDED_COMPLETION = 4096
"""Completion tokens counted for a request that sets no maximum."""

SAMPLE = 400
ENOUGH = 20
"""Past answers from which the next ones can be judged."""


class Bracket(NamedTuple):
    """US dollars between which a bill lies."""

    usd_low: float
    usd_high: float


@dataclass(frozen=True)
class _Experience:
    """Bytes a prompt token and completion tokens of past answers, with relative deviations."""

    answers: int
    bytes_per_token: float
    prompt_spread: float
    completion: float
    completion_spread: float


def upper_bound(body: Mapping[str, Any], price: Price) -> float:
    """US dollars that one request cannot exceed: 3 bytes a prompt token, full completions."""
    messages = body.get("messages")
    overhead = 16 + 8 * (len(messages) if isinstance(messages, list) else 1)
    prompt = math.ceil(prompt_bytes(body) / 3) + overhead
    return cost(price, Usage(prompt=prompt, cached=0, completion=_most(body)))


def estimate(
    requests: Sequence[Request],
    *,
    config: Config,
    store: Store,
    stage: str = "",
    typical_answer: str = "",
) -> Bracket:
    """The bill for requests that have no answer yet.

    With past answers of the same model (and stage, where given) the bracket is their average with
    its uncertainty, at least 3% to each side. With answers of other models at this endpoint and a
    `typical_answer`, their bytes a token are taken over. Without either, it holds every possible
    bill: prompts of 3 to 6 bytes a token, completions of one token to the maximum. Raises
    ConfigError for a model without a price.
    """
    by_model: dict[str, list[Request]] = {}
    for request in {r.key: r for r in requests}.values():
        by_model.setdefault(str(request.body.get("model")), []).append(request)
    brackets = []
    for model, group in by_model.items():
        price, past = price_of(model, config), _experience(store, model, group[0], stage)
        other = _elsewhere(store, group[0]) if past is None and typical_answer else None
        if other is None:
            brackets.append(_bracket(group, price, past))
        else:
            brackets.append(_transferred(group, price, other, typical_answer))
    return Bracket(sum(b.usd_low for b in brackets), sum(b.usd_high for b in brackets))


def _bracket(requests: list[Request], price: Price, past: _Experience | None) -> Bracket:
    size = sum(prompt_bytes(r.body) for r in requests)
    if past is None:
        cheapest = price.input if price.cached_input is None else price.cached_input
        low = (size / 6 * cheapest + len(requests) * price.output) / 1e6
        return Bracket(low, sum(upper_bound(r.body, price) for r in requests))
    prompt = size / past.bytes_per_token * price.input / 1e6
    output = len(requests) * past.completion * price.output / 1e6
    # The mean of the sample is uncertain, and so is the mean of the requests to come.
    doubt = math.sqrt(1 / past.answers + 1 / len(requests))
    spread = 3 * doubt * (prompt * past.prompt_spread + output * past.completion_spread)
    half = max(0.03 * (prompt + output), spread)
    return Bracket(max(0.0, prompt + output - half), prompt + output + half)


def _transferred(
    requests: list[Request], price: Price, tokens: tuple[float, float], answer: str
) -> Bracket:
    """A bill from the bytes that other models of the endpoint take a (prompt, completion) token.

    Some endpoints count the response schema as prompt: the low end leaves it out.
    """
    bare = sum(prompt_bytes({"messages": r.body.get("messages")}) for r in requests)
    whole = sum(prompt_bytes(r.body) for r in requests)
    output = len(requests) * len(answer.encode()) / tokens[1] * price.output / 1e6
    low, high = (size / tokens[0] * price.input / 1e6 + output for size in (bare, whole))
    return Bracket(0.97 * low, 1.03 * high)


def _elsewhere(store: Store, like: Request) -> tuple[float, float] | None:
    """Bytes a prompt token and a completion token, as answers of any model here measured them."""
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT answer.body, answer.response, ledger.prompt_tokens, ledger.completion_tokens "
            "FROM llm_ledger AS ledger JOIN llm_answers AS answer USING (request_key) "
            "WHERE ledger.endpoint = ? AND ledger.completion_tokens > 0 "
            "ORDER BY ledger.created_at DESC LIMIT ?",
            [like.endpoint, SAMPLE],
        ).fetchall()
    if len(rows) < ENOUGH:
        return None
    asked = sum(prompt_bytes(json.loads(body)) for body, _, _, _ in rows)
    told = sum(len(_content(json.loads(response)).encode()) for _, response, _, _ in rows)
    return asked / sum(prompt for _, _, prompt, _ in rows), told / sum(n for _, _, _, n in rows)


def _content(response: Mapping[str, Any]) -> str:
    return str(response["choices"][0]["message"].get("content") or "")


def _most(body: Mapping[str, Any]) -> int:
    maximum = body.get("max_completion_tokens") or body.get("max_tokens") or UNBOUNDED_COMPLETION
    return int(maximum) * int(body.get("n") or 1)


def _experience(store: Store, model: str, like: Request, stage: str) -> _Experience | None:
    """What the last live answers of this model and endpoint measured, in this stage if given."""
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT answer.body, ledger.prompt_tokens, ledger.completion_tokens "
            "FROM llm_ledger AS ledger JOIN llm_answers AS answer USING (request_key) "
            "WHERE ledger.model = ? AND ledger.endpoint = ? AND (? = '' OR ledger.stage = ?) "
            "ORDER BY ledger.created_at DESC LIMIT ?",
            [model, like.endpoint, stage, stage, SAMPLE],
        ).fetchall()
    if len(rows) < ENOUGH:
        return None
    sizes = [prompt_bytes(json.loads(body)) for body, _, _ in rows]
    tokens = [max(1, prompt) for _, prompt, _ in rows]
    completions = [completion for _, _, completion in rows]
    ratios = [size / token for size, token in zip(sizes, tokens, strict=True)]
    ratio, mean = sum(sizes) / sum(tokens), fmean(completions)
    return _Experience(
        answers=len(rows),
        bytes_per_token=ratio,
        prompt_spread=stdev(ratios) / ratio,
        completion=mean,
        completion_spread=stdev(completions) / mean if mean else 0.0,
    )
