from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.llm_endpoint import Endpoint, running_endpoint


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with running_endpoint() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convrec.llm.dispatcher.INITIAL_DELAY", 0.01)
    monkeypatch.setattr("convrec.llm.batch.client.INITIAL_DELAY", 0.01)
    monkeypatch.setattr("convrec.llm.batch.sender.INITIAL_POLL", 0.02)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
