"""What a model costs: the dated table `prices.toml`, under what `llm.prices` says.

A model that neither knows is an error, never a silent zero: a local server is given its zero price
explicitly. Model names contain dots, so the override is written as JSON:

    --set 'llm.prices={"my-model": {"input": 0, "output": 0}}'
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from convrec.config import Config, Price
from convrec.errors import ConfigError

PRICE_TABLE = Path(__file__).with_name("prices.toml")

MIN_REASONING_TOKENS = 4000
"""Tokens that a model which reasons is given at least: with few it ends before it has answered."""

_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True)
class Usage:
    """Billed tokens: `cached` is the part of `prompt` read from the cache, `reasoning` the part of
    `completion` that is not shown.
    """

    prompt: int
    cached: int
    completion: int
    reasoning: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
            self.reasoning + other.reasoning,
        )


NO_USAGE = Usage(0, 0, 0)


def price_of(model: str, config: Config) -> Price:
    """The price of a model; a dated snapshot has its model's price where it has no own.

    Raises ConfigError for a model without a price, with the override to set.
    """
    tables = (config.llm.prices, _shipped())
    for name in (model, _SNAPSHOT.sub("", model)):
        for table in tables:
            if name in table:
                return table[name]
    raise ConfigError(
        f"no price is known for model {model!r}; give it in US dollars for a million tokens, 0 if "
        f'it is free: --set \'llm.prices={{"{model}": {{"input": 0, "output": 0}}}}\''
    )


def cost(price: Price, usage: Usage, *, batch: bool = False) -> float:
    """US dollars for the billed tokens of one response."""
    cached_price = price.input if price.cached_input is None else price.cached_input
    dollars = (
        (usage.prompt - usage.cached) * price.input
        + usage.cached * cached_price
        + usage.completion * price.output
    ) / 1e6
    return dollars * batch_discount() if batch else dollars


def batch_discount() -> float:
    """What the Batch API charges, as a share of the list price."""
    return float(_table()["batch_discount"])


def token_rates(model: str) -> Mapping[str, Any]:
    """Bytes a token of the model's family: `prompt`, `titles`, `ratings`; `message` tokens added
    for each message, `doubt` as a share, and whether it bills hidden `reasoning`.
    """
    rows: list[Mapping[str, Any]] = _table()["tokens"]
    fitting = [row for row in rows if any(model.startswith(name) for name in row["models"])]
    return max(fitting, key=lambda row: max(len(n) for n in row["models"] if model.startswith(n)))


@lru_cache
def chat_limits(model: str, setting: str, max_tokens: int, temperature: float) -> Mapping[str, Any]:
    """What a chat request says about length and temperature; `setting` is where the length is from.

    A model that reasons counts that in, under another name, and takes no temperature. Raises
    ConfigError where it would be given too few tokens.
    """
    if not token_rates(model).get("reasoning"):
        return {"temperature": temperature, "max_tokens": max_tokens}
    if max_tokens < MIN_REASONING_TOKENS:
        raise ConfigError(
            f"{setting}={max_tokens} is too few for {model}, which counts its reasoning in and "
            f"would end before it has answered; set {setting} to {MIN_REASONING_TOKENS} or more"
        )
    return {"max_completion_tokens": max_tokens}


@lru_cache(maxsize=1)
def _table() -> Mapping[str, Any]:
    return tomllib.loads(PRICE_TABLE.read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _shipped() -> Mapping[str, Price]:
    return {name: Price.model_validate(row) for name, row in _table()["models"].items()}
