"""Shared context of one fetch: configuration, stores, budget, endpoint."""

from __future__ import annotations

from dataclasses import dataclass

from convrec.config import Config, Price
from convrec.llm.budget import Budget
from convrec.llm.prices import price_of
from convrec.llm.progress import FetchStats
from convrec.llm.requests import Request
from convrec.llm.response_store import ResponseStore


@dataclass
class FetchContext:
    """What live and batch requests share. `run` and `stage` identify the fetch in the ledger."""

    config: Config
    responses: ResponseStore
    stats: FetchStats
    budget: Budget
    stage: str
    run: str
    base_url: str
    key: str

    def price(self, request: Request) -> Price:
        """The price of the request's model. Raises ConfigError if it has none."""
        return price_of(request.model, self.config)
