"""The queue in front of the model: batches, limits, errors and the end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import httpx
import openai
import pytest

from convrec.serving.endpoint.app import Endpoint, Limits
from convrec.serving.endpoint.batcher import Batcher, ClosedError, QueueFullError
from convrec.serving.endpoint.engine import ListAnswer, ListRequest, RankedItem
from tests.support.served_endpoint import serving


def _answer(request: ListRequest) -> ListAnswer:
    item = RankedItem(1, "i", request.text, None, request.text, 1.0)
    return ListAnswer([item], [], [], "made up", 1, 1)


class SlowEngine:
    """Answers once it is let; remembers the sizes of batches."""

    model = "slow"
    list_length = 1

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.has_begun = threading.Event()
        self.sizes: list[int] = []

    @property
    def catalog(self) -> Any:
        return type("Catalog", (), {"name": "made up", "__len__": lambda self: 1})()

    def answer(self, requests: Sequence[ListRequest]) -> list[ListAnswer | Exception]:
        self.sizes.append(len(requests))
        self.has_begun.set()
        assert self.may_answer.wait(10)
        return [RuntimeError("no") if r.text == "bad" else _answer(r) for r in requests]


@pytest.fixture
def engine() -> SlowEngine:
    return SlowEngine()


def _ask(text: str) -> ListRequest:
    return ListRequest(text, 1)


def test_requests_that_wait_are_one_batch(engine: SlowEngine) -> None:
    batcher = Batcher(engine.answer, size=3, window=0.0, waiting=9)
    first = batcher.submit(_ask("first"))
    assert engine.has_begun.wait(5)
    others = [batcher.submit(_ask(f"{i}")) for i in range(5)]
    cancelled = batcher.submit(_ask("cancelled"))
    assert cancelled.cancel()
    bad = batcher.submit(_ask("bad"))
    engine.may_answer.set()
    assert [f.result(5).items[0].line for f in [first, *others]] == ["first", *"01234"]
    with pytest.raises(RuntimeError, match="no"):
        bad.result(5)
    assert engine.sizes == [1, 3, 2, 1]  # the cancelled one has no place in a batch
    batcher.close()


def test_a_failed_batch_does_not_end_the_thread() -> None:
    def fail_once(requests: Sequence[ListRequest]) -> list[ListAnswer | Exception]:
        if requests[0].text == "bad":
            raise MemoryError("all of them")
        return [_answer(request) for request in requests]

    batcher = Batcher(fail_once, size=1, window=0.0, waiting=9)
    with pytest.raises(MemoryError):
        batcher.submit(_ask("bad")).result(5)
    assert batcher.submit(_ask("good")).result(5).items[0].line == "good"
    batcher.close()


def test_the_end_answers_what_waits_and_takes_no_more(engine: SlowEngine) -> None:
    batcher = Batcher(engine.answer, size=2, window=0.0, waiting=2)
    futures = [batcher.submit(_ask("0"))]
    assert engine.has_begun.wait(5)
    futures += [batcher.submit(_ask(f"{i}")) for i in (1, 2)]
    with pytest.raises(QueueFullError):
        batcher.submit(_ask("too many"))
    engine.may_answer.set()
    batcher.close()
    assert [future.result(0).items[0].line for future in futures] == ["0", "1", "2"]
    with pytest.raises(ClosedError):
        batcher.submit(_ask("late"))


def test_a_full_queue_and_a_late_list_have_their_status(engine: SlowEngine) -> None:
    endpoint = Endpoint(engine, Limits(batch=1, window=0.0, waiting=1, seconds=0.5))
    with serving(endpoint) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        message: Any = {"role": "user", "content": "x"}
        codes: list[str | None] = []

        def ask() -> None:
            with pytest.raises(openai.APIStatusError) as caught:
                client.chat.completions.create(model="slow", messages=[message])
            codes.append(f"{caught.value.status_code} {caught.value.code}")

        threads = [threading.Thread(target=ask)]
        threads[0].start()
        assert engine.has_begun.wait(5)
        threads += [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads[1:]:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert sorted(map(str, codes)) == ["429 queue_full", "503 timeout", "503 timeout"]
        assert httpx.get(f"{url}/health").json()["status"] == "ok"
        engine.may_answer.set()
        answer = client.chat.completions.create(model="slow", messages=[message])
        assert answer.choices[0].message.content == "x"
        counts = httpx.get(f"{url}/metrics").text
        assert 'convrec_requests_total{status="429"} 1.0' in counts
        assert 'convrec_requests_total{status="503"} 2.0' in counts


def test_a_failing_engine_is_an_error_of_the_server(engine: SlowEngine) -> None:
    engine.may_answer.set()
    with serving(Endpoint(engine, Limits())) as url:
        body = {"model": "slow", "messages": [{"role": "user", "content": "bad"}]}
        for stream in (False, True):
            failed = httpx.post(f"{url}/v1/chat/completions", json={**body, "stream": stream})
            assert failed.status_code == 500
            error = failed.json()["error"]
            assert (error["type"], error["message"]) == (
                "server_error",
                "the server failed (RuntimeError)",
            )
