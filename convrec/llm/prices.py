"""Prices of models: the dated table `prices.toml`, which `llm.prices` overrides.

A model that is in neither is an error; a free local server needs an explicit price of zero. Model
names contain dots, so the override is written as JSON:

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

_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True)
class Usage:
    """Billed tokens; `cached` ones are part of `prompt`, `reasoning` ones of `completion`."""

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
    """The price of a model; a dated snapshot without a price has the price of its model.

    Raises ConfigError, with the override to set, if there is no price.
    """
    tables = (config.llm.prices, _shipped_prices())
    for name in (model, _SNAPSHOT.sub("", model)):
        for table in tables:
            if name in table:
                return table[name]
    raise ConfigError(
        f"no price is known for model {model!r}. Set it in US dollars per million tokens (0 if the "
        f'model is free): --set \'llm.prices={{"{model}": {{"input": 0, "output": 0}}}}\''
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
    """Price of the Batch API as a share of the list price."""
    return float(_table()["batch_discount"])


@lru_cache(maxsize=64)
def token_rates(model: str) -> Mapping[str, Any]:
    """Tokenizer rates of the model's family, by the beginning of its name.

    Bytes per token of a `prompt`, of `titles` and of `ratings`; bytes of a `description`; tokens
    added per `message`; the relative uncertainty `doubt`; and whether hidden `reasoning` is billed.
    """
    rows: list[Mapping[str, Any]] = _table()["tokens"]
    matching = [row for row in rows if any(model.startswith(name) for name in row["models"])]
    return max(matching, key=lambda row: max(len(n) for n in row["models"] if model.startswith(n)))


@lru_cache(maxsize=1)
def _table() -> Mapping[str, Any]:
    return tomllib.loads(PRICE_TABLE.read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _shipped_prices() -> Mapping[str, Price]:
    return {name: Price.model_validate(row) for name, row in _table()["models"].items()}
