"""What requests will cost before they are sent: a bracket for many, from one pass over them.

With past answers of the same model and stage, their averages. Without, the bytes that a token
takes: as other models of the endpoint measured it, else as `prices.toml` has it for the family.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, field
from statistics import stdev
from typing import TYPE_CHECKING, Any

from convrec.llm.budget import max_usage
from convrec.llm.client import prompt_bytes
from convrec.llm.prices import Usage, batch_discount, cost, price_of, token_rates
from convrec.llm.read import response_text
from convrec.llm.requests import Request, distinct

if TYPE_CHECKING:
    from convrec.artifacts.store import Store
    from convrec.config import Config

MAX_SAMPLE = 400
MIN_SAMPLE = 20
"""Past answers from which the next ones can be judged."""

ExpectedBytes = Callable[[Mapping[str, Any]], float]
"""Bytes of the answer that a request body asks for."""


@dataclass(frozen=True)
class CostEstimate:
    """US dollars between which a bill lies, and the tokens that are the best guess."""

    usd_low: float = 0.0
    usd_high: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0

    def __add__(self, other: CostEstimate) -> CostEstimate:
        return CostEstimate(
            self.usd_low + other.usd_low,
            self.usd_high + other.usd_high,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def scaled(self, share: float) -> CostEstimate:
        """The same tokens at another price."""
        low, high = self.usd_low * share, self.usd_high * share
        return CostEstimate(low, high, self.prompt_tokens, self.completion_tokens)

    def times(self, number: int) -> CostEstimate:
        """As many bills of the same size."""
        return CostEstimate(*(number * value for value in astuple(self)))


@dataclass
class _RequestTotals:
    """The requests of one model, added up: counts, bytes, and the dearest that they can be."""

    first: Request
    requests: int = 0
    messages: int = 0
    message_bytes: int = 0
    all_bytes: int = 0
    answer_bytes: float = 0.0
    most: Usage = field(default_factory=lambda: Usage(0, 0, 0))

    @property
    def mute(self) -> bool:
        """Whether nothing is said: embeddings."""
        return not self.most.completion

    def add(self, request: Request, expected: ExpectedBytes) -> None:
        messages = request.body.get("messages")
        self.requests += 1
        if "input" not in request.body:
            self.messages += len(messages) if isinstance(messages, list) else 1
        everything = prompt_bytes(request.body)
        self.message_bytes += _message_bytes(request.body)
        self.all_bytes += everything
        self.answer_bytes += expected(request.body)
        self.most = self.most + max_usage(request.body, everything)


@dataclass(frozen=True)
class _PastUsage:
    """Bytes a prompt token (of all that is sent, of messages alone) and completion tokens a byte
    expected, with relative deviations.
    """

    answers: int
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
    kind: str = "titles",
    answer_bytes: ExpectedBytes | None = None,
    sure: bool = False,
    batch: bool = False,
) -> CostEstimate:
    """The bill for requests that have no answer yet; repeats count once.

    With past answers of the same model (and stage, where given) the bracket is their average with
    its uncertainty, at least 3% to each side, in proportion to `answer_bytes` where that is given.
    Else an answer of `answer_bytes` of `kind` (`titles` or `ratings`) is expected, and the bracket
    is as wide as the model's family is doubtful; the high end of a model that reasons is its
    maximum. Without `answer_bytes`, or with `sure`, it then holds every possible bill. `batch` is
    half the price. Embeddings say nothing: what is read is all that is billed. Raises ConfigError
    for a model without a price.
    """
    piles: dict[str, _RequestTotals] = {}
    for request in distinct(requests):
        model = str(request.body.get("model"))
        piles.setdefault(model, _RequestTotals(request)).add(request, answer_bytes or _alike)
    total = CostEstimate()
    for model, pile in piles.items():
        past = _experience(store, model, pile.first, stage, answer_bytes or _alike)
        if past is not None:
            total += _from_past(pile, past, model, config)
        elif (answer_bytes is not None or pile.mute) and not sure:
            total += _from_bytes(pile, model, config, store, kind)
        else:
            total += _anything(pile, model, config)
    return total.scaled(batch_discount()) if batch else total


def _alike(body: Mapping[str, Any]) -> float:
    """Every answer as long as the others."""
    return 1.0


def _message_bytes(body: Mapping[str, Any]) -> int:
    """Bytes that every endpoint counts: the messages, or the texts to be embedded."""
    return prompt_bytes(body if "input" in body else {"messages": body.get("messages")})


def _anything(pile: _RequestTotals, model: str, config: Config) -> CostEstimate:
    """Every possible bill: prompts of 3 to 6 bytes a token, one completion token to the maximum."""
    price = price_of(model, config)
    cheapest = price.input if price.cached_input is None else price.cached_input
    low = (pile.all_bytes / 6 * cheapest + pile.requests * price.output) / 1e6
    return CostEstimate(low, cost(price, pile.most), pile.most.prompt, pile.most.completion)


def _from_past(pile: _RequestTotals, past: _PastUsage, model: str, config: Config) -> CostEstimate:
    price = price_of(model, config)
    # Requests may be shorter than those of the past, and then the schema, if the endpoint counts it
    # at all, is a larger share of them: the truth lies between the two ways of counting.
    prompts = sorted(
        (
            pile.all_bytes / past.bytes_per_token,
            pile.message_bytes / past.message_bytes_per_token,
        )
    )
    told = pile.answer_bytes * past.completion
    output = told * price.output / 1e6
    low, high = (tokens * price.input / 1e6 + output for tokens in prompts)
    # The mean of the sample is uncertain, and so is the mean of the requests to come.
    doubt = math.sqrt(1 / past.answers + 1 / pile.requests)
    spread = 3 * doubt * ((high - output) * past.prompt_spread + output * past.completion_spread)
    half = max(0.03 * high, spread)
    return CostEstimate(max(0.0, low - half), high + half, sum(prompts) / 2, told)


def _from_bytes(
    pile: _RequestTotals, model: str, config: Config, store: Store, kind: str
) -> CostEstimate:
    """A bill from bytes a token; the low end leaves out the schema, which few endpoints count."""
    price, rates = price_of(model, config), token_rates(model)
    measured = None if pile.mute else _elsewhere(store, pile.first)
    prompt_rate, answer_rate = measured or (rates["prompt"], rates[kind])
    doubt = 0.03 if measured else rates["doubt"]
    added = 0.0 if measured else rates["message"] * pile.messages
    bare, whole = (size / prompt_rate + added for size in (pile.message_bytes, pile.all_bytes))
    output = pile.answer_bytes / answer_rate
    output = min(output, pile.most.completion)
    low, high = ((n * price.input + output * price.output) / 1e6 for n in (bare, whole))
    most = cost(price, pile.most) if rates.get("reasoning") else (1 + doubt) * high
    return CostEstimate((1 - doubt) * low, most, (bare + whole) / 2, output)


def _elsewhere(store: Store, like: Request) -> tuple[float, float] | None:
    """Bytes a prompt token and a completion token, as answers of any model here measured them.

    None where there are too few, or they say or count nothing.
    """
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT answer.body, answer.response, ledger.prompt_tokens, ledger.completion_tokens "
            "FROM llm_ledger AS ledger JOIN llm_answers AS answer USING (request_key) "
            "WHERE ledger.endpoint = ? AND ledger.completion_tokens > 0 "
            "ORDER BY ledger.created_at DESC LIMIT ?",
            [like.endpoint, MAX_SAMPLE],
        ).fetchall()
    if len(rows) < MIN_SAMPLE:
        return None
    asked = sum(prompt_bytes(json.loads(body)) for body, _, _, _ in rows)
    texts = (response_text(json.loads(response))[0] or "" for _, response, _, _ in rows)
    told = sum(len(text.encode()) for text in texts)
    prompt, completion = (sum(tokens) for tokens in zip(*(row[2:] for row in rows), strict=True))
    return (asked / prompt, told / completion) if told and prompt else None


def _experience(
    store: Store, model: str, like: Request, stage: str, expected: ExpectedBytes
) -> _PastUsage | None:
    """What the last bought answers of this model and endpoint measured, in this stage if given."""
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT answer.body, ledger.prompt_tokens, ledger.completion_tokens "
            "FROM llm_ledger AS ledger JOIN llm_answers AS answer USING (request_key) "
            "WHERE ledger.model = ? AND ledger.endpoint = ? AND (? = '' OR ledger.stage = ?) "
            "ORDER BY ledger.created_at DESC LIMIT ?",
            [model, like.endpoint, stage, stage, MAX_SAMPLE],
        ).fetchall()
    if len(rows) < MIN_SAMPLE:
        return None
    bodies = [json.loads(body) for body, _, _ in rows]
    sizes, hoped = [prompt_bytes(body) for body in bodies], [max(1.0, expected(b)) for b in bodies]
    bare = sum(map(_message_bytes, bodies))
    tokens = [max(1, prompt) for _, prompt, _ in rows]
    completions = [completion for _, _, completion in rows]
    ratios = [size / token for size, token in zip(sizes, tokens, strict=True)]
    told = [completion / bytes_ for completion, bytes_ in zip(completions, hoped, strict=True)]
    ratio, mean = sum(sizes) / sum(tokens), sum(completions) / sum(hoped)
    return _PastUsage(
        answers=len(rows),
        bytes_per_token=ratio,
        message_bytes_per_token=bare / sum(tokens),
        prompt_spread=stdev(ratios) / ratio,
        completion=mean,
        completion_spread=stdev(told) / mean if mean else 0.0,
    )
