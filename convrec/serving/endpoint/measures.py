"""What the endpoint counts, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Measures:
    """Counters of one server; `waiting` says how many requests wait."""

    def __init__(self, model: str, waiting: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "convrec_requests", "Requests for lists, by HTTP status.", ["status"], registry=registry
        )
        self.seconds = Histogram(
            "convrec_request_seconds",
            "Seconds from a request to the end of its list.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.batches = Histogram(
            "convrec_batch_size", "Requests answered together.", buckets=_SIZES, registry=registry
        )
        self.tokens = Counter(
            "convrec_tokens", "Tokens of prompts and lists.", ["kind"], registry=registry
        )
        Gauge("convrec_waiting_requests", "Requests in the queue.", registry=registry).set_function(
            waiting
        )
        self.items = Gauge(
            "convrec_catalog_items", "Items of the catalog in use.", registry=registry
        )
        self.changes = Counter(
            "convrec_catalog_changes", "Catalogs that replaced another.", registry=registry
        )
        self._info = Info("convrec_serving", "The model and the catalog in use.", registry=registry)
        self._model = model

    def set_catalog(self, name: str, items: int) -> None:
        """Record which catalog is in use."""
        self._info.info({"model": self._model, "catalog": name})
        self.items.set(items)

    def text(self) -> bytes:
        """All counts."""
        return generate_latest(self._registry)
