"""Estimate what requests will cost before they are sent, in one pass over them.

The estimate uses the average of past responses of the same model and stage. Without any it uses
bytes per token: measured on other models of the endpoint, else those in `prices.toml`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, field
from statistics import stdev
from typing import Any, Literal

from convrec.artifacts.store import Store
from convrec.config import Config
from convrec.llm.answer import read_answer
from convrec.llm.budget import max_usage
from convrec.llm.model_settings import is_reasoning
from convrec.llm.prices import NO_USAGE, Usage, batch_discount, cost, price_of, token_rates
from convrec.llm.requests import Request, distinct
from convrec.llm.response_body import prompt_bytes

MAX_SAMPLE = 400
MIN_SAMPLE = 20
"""Past responses that are read at most, and needed at least, for an estimate."""

OutputKind = Literal["titles", "ratings", "prompt"]
"""What responses consist of; `prompt` is text like that of prompts."""

ExpectedBytes = Callable[[Mapping[str, Any]], float]
"""Request body → expected bytes of the response text."""


@dataclass(frozen=True)
class CostEstimate:
    """A range of US dollars that contains the bill, and the most likely token counts."""

    usd_low: float = 0.0
    usd_high: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0

    def __add__(self, other: CostEstimate) -> CostEstimate:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return CostEstimate(*(mine + theirs for mine, theirs in pairs))

    def scaled(self, factor: float) -> CostEstimate:
        """The same tokens at `factor` times the price."""
        low, high = self.usd_low * factor, self.usd_high * factor
        return CostEstimate(low, high, self.prompt_tokens, self.completion_tokens)

    def times(self, number: float) -> CostEstimate:
        """The cost of `number` such sets of requests."""
        return CostEstimate(*(number * value for value in astuple(self)))


@dataclass
class _RequestTotals:
    """Totals over the requests of one model; `max_usage` bounds their tokens."""

    first: Request
    requests: int = 0
    messages: int = 0
    message_bytes: int = 0
    prompt_bytes: int = 0
    response_bytes: float = 0.0
    max_usage: Usage = field(default_factory=lambda: NO_USAGE)

    @property
    def is_embedding(self) -> bool:
        return not self.max_usage.completion

    def add(self, request: Request, expected_bytes: ExpectedBytes) -> None:
        messages = request.body.get("messages")
        self.requests += 1
        if "input" not in request.body:
            self.messages += len(messages) if isinstance(messages, list) else 1
        size = prompt_bytes(request.body)
        self.message_bytes += _message_bytes(request.body)
        self.prompt_bytes += size
        self.response_bytes += expected_bytes(request.body)
        self.max_usage = self.max_usage + max_usage(request.body, size)


@dataclass(frozen=True)
class _PastUsage:
    """Averages and relative spreads; `completion` is completion tokens per expected byte."""

    responses: int
    bytes_per_token: float
    message_bytes_per_token: float
    prompt_spread: float
    completion: float
    completion_spread: float


def estimate_cost(
    requests: Iterable[Request],
    *,
    config: Config,
    store: Store,
    stage: str = "",
    output_kind: OutputKind = "titles",
    expected_bytes: ExpectedBytes | None = None,
    worst_case: bool = False,
    batch: bool = False,
) -> CostEstimate:
    """The cost of requests without a stored response; requests with the same key count once.

    With past responses of the model (and of `stage`, if set) the estimate is their average, in
    proportion to `expected_bytes`, with its uncertainty, at least 3% to each side. Otherwise it
    follows from `expected_bytes` of text of `output_kind`. Without these, or with `worst_case`, it
    then contains every possible bill. Raises ConfigError for a model without a price.
    """
    by_model: dict[str, _RequestTotals] = {}
    expected = expected_bytes or (lambda body: 1.0)
    for request in distinct(requests):
        by_model.setdefault(request.model, _RequestTotals(request)).add(request, expected)
    total = CostEstimate()
    for model, totals in by_model.items():
        past = _past_usage(store, model, totals.first, stage, expected)
        if past is not None:
            total += _from_past(totals, past, model, config)
        elif (expected_bytes is not None or totals.is_embedding) and not worst_case:
            total += _from_bytes(totals, model, config, store, output_kind)
        else:
            total += _every_bill(totals, model, config)
    return total.scaled(batch_discount()) if batch else total


def _message_bytes(body: Mapping[str, Any]) -> int:
    """Bytes that every endpoint bills: the messages, or the texts to embed."""
    return prompt_bytes(body if "input" in body else {"messages": body.get("messages")})


def _every_bill(totals: _RequestTotals, model: str, config: Config) -> CostEstimate:
    """From cached prompts at 6 bytes per token and one completion token, to the maximum."""
    price = price_of(model, config)
    cheapest = price.input if price.cached_input is None else price.cached_input
    low = (totals.prompt_bytes / 6 * cheapest + totals.requests * price.output) / 1e6
    usage = totals.max_usage
    return CostEstimate(low, cost(price, usage), usage.prompt, usage.completion)


def _from_past(
    totals: _RequestTotals, past: _PastUsage, model: str, config: Config
) -> CostEstimate:
    price = price_of(model, config)
    # In shorter requests the schema is a larger share, and not every endpoint bills it. The true
    # count is between the one by all bytes and the one by message bytes.
    prompts = sorted(
        (
            totals.prompt_bytes / past.bytes_per_token,
            totals.message_bytes / past.message_bytes_per_token,
        )
    )
    completion = totals.response_bytes * past.completion
    output = completion * price.output / 1e6
    low, high = (tokens * price.input / 1e6 + output for tokens in prompts)
    # Standard error of the difference between the sample's mean and the new requests' mean.
    error = math.sqrt(1 / past.responses + 1 / totals.requests)
    spread = 3 * error * ((high - output) * past.prompt_spread + output * past.completion_spread)
    margin = max(0.03 * high, spread)
    return CostEstimate(max(0.0, low - margin), high + margin, sum(prompts) / 2, completion)


def _from_bytes(
    totals: _RequestTotals, model: str, config: Config, store: Store, output_kind: str
) -> CostEstimate:
    """From bytes per token. The low end leaves out the schema, which few endpoints bill."""
    price, rates = price_of(model, config), token_rates(model)
    measured = None if totals.is_embedding else _measured_rates(store, totals.first)
    prompt_rate, output_rate = measured or (rates["prompt"], rates[output_kind])
    doubt = 0.03 if measured else rates["doubt"]
    extra = 0.0 if measured else rates["message"] * totals.messages
    low_prompt, high_prompt = (
        size / prompt_rate + extra for size in (totals.message_bytes, totals.prompt_bytes)
    )
    completion = min(totals.response_bytes / output_rate, totals.max_usage.completion)
    low, high = (
        (prompt * price.input + completion * price.output) / 1e6
        for prompt in (low_prompt, high_prompt)
    )
    usd_high = cost(price, totals.max_usage) if is_reasoning(config, model) else (1 + doubt) * high
    return CostEstimate((1 - doubt) * low, usd_high, (low_prompt + high_prompt) / 2, completion)


def _measured_rates(store: Store, request: Request) -> tuple[float, float] | None:
    """Bytes per prompt and completion token in past responses of the request's endpoint.

    None if there are too few, or no token counts or texts.
    """
    condition = "ledger.endpoint = ? AND ledger.completion_tokens > 0"
    rows = _latest_responses(store, condition, request.endpoint)
    prompt_size = sum(prompt_bytes(json.loads(body)) for body, _, _, _ in rows)
    texts = (read_answer(json.loads(response)).text or "" for _, response, _, _ in rows)
    response_size = sum(len(text.encode()) for text in texts)
    prompt, completion = (sum(row[column] for row in rows) for column in (2, 3))
    if not (prompt and response_size):
        return None
    return prompt_size / prompt, response_size / completion


def _past_usage(
    store: Store, model: str, request: Request, stage: str, expected_bytes: ExpectedBytes
) -> _PastUsage | None:
    """Averages over the latest bought responses of a model; None if there are too few."""
    condition = "ledger.model = ? AND ledger.endpoint = ? AND (? = '' OR ledger.stage = ?)"
    rows = _latest_responses(store, condition, model, request.endpoint, stage, stage)
    if not rows:
        return None
    bodies = [json.loads(body) for body, _, _, _ in rows]
    sizes = [prompt_bytes(body) for body in bodies]
    expected = [max(1.0, expected_bytes(body)) for body in bodies]
    tokens = [max(1, prompt) for _, _, prompt, _ in rows]
    completions = [completion for _, _, _, completion in rows]
    prompt_ratios = [size / count for size, count in zip(sizes, tokens, strict=True)]
    ratios = [count / size for count, size in zip(completions, expected, strict=True)]
    prompt_mean, mean = sum(sizes) / sum(tokens), sum(completions) / sum(expected)
    return _PastUsage(
        responses=len(rows),
        bytes_per_token=prompt_mean,
        message_bytes_per_token=sum(map(_message_bytes, bodies)) / sum(tokens),
        prompt_spread=stdev(prompt_ratios) / prompt_mean,
        completion=mean,
        completion_spread=stdev(ratios) / mean if mean else 0.0,
    )


def _latest_responses(store: Store, condition: str, *values: str) -> list[Any]:
    """(body, response, prompt tokens, completion tokens); none if there are too few."""
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT answer.body, answer.response, ledger.prompt_tokens, ledger.completion_tokens "  # noqa: S608
            "FROM llm_ledger AS ledger JOIN llm_answers AS answer USING (request_key) "
            f"WHERE {condition} ORDER BY ledger.created_at DESC LIMIT {MAX_SAMPLE}",
            values,
        ).fetchall()
    return rows if len(rows) >= MIN_SAMPLE else []
