"""The endpoint, asked by OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import openai
import pytest

from convrec.artifacts import Store
from convrec.catalog.publish import publish_catalog
from convrec.serving.endpoint.app import Endpoint, Limits
from convrec.serving.endpoint.engine import EmbeddedEngine
from convrec.serving.recommend import recommend
from tests.support.served_checkpoint import CONFIG, ITEMS, put_served_checkpoint
from tests.support.served_endpoint import serving

TEXT = "I loved Alien and Heat (1995). zombies?"
OTHER = "something with Blade Runner in space"


class Served(NamedTuple):
    store: Store
    model: str
    url: str
    client: openai.OpenAI
    endpoint: Endpoint

    def ask(self, text: str = TEXT, **options: Any) -> Any:
        messages = [{"role": "user", "content": text}]
        options = {"model": self.model, "messages": messages, **options}
        return self.client.chat.completions.create(**options)

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json", **headers}
        return httpx.post(f"{self.url}{path}", content=content, headers=headers)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = Store(tmp_path_factory.mktemp("endpoint") / "home")
    model = put_served_checkpoint(store)
    endpoint = Endpoint(EmbeddedEngine(store, model), Limits(window=0.05, body=4000))
    with serving(endpoint) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        yield Served(store, model, url, client, endpoint)


def test_an_answer_is_the_list_of_recommend(served: Served) -> None:
    expected = recommend(served.store, served.model, TEXT)
    answer = served.ask()
    assert answer.choices[0].message.content.split("\n") == expected.items
    assert answer.choices[0].finish_reason == "stop"
    assert answer.convrec == {
        "seen": ["Alien (1979)", "Heat (1995)"],
        "unknown_words": expected.unknown_words,
        "catalog": "checkpoint",
    }
    assert "zombies" in expected.unknown_words
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert [model.id for model in served.client.models.list()] == [served.model]


def test_json_has_items_with_ids_and_scores(served: Served) -> None:
    answer = served.ask(response_format={"type": "json_object"}, extra_body={"list_length": 3})
    found = json.loads(answer.choices[0].message.content)
    ids = {f"{title} ({year})": (item_id, title, year) for item_id, title, year in ITEMS}
    assert [item["rank"] for item in found["items"]] == [1, 2, 3]
    for item in found["items"]:
        assert (item["item_id"], item["title"], item["year"]) == ids[item["line"]]
        assert 0 < item["score"] <= 1
    assert found["seen"] == ["Alien (1979)", "Heat (1995)"]
    lines = [item["line"] for item in found["items"]]
    assert lines == recommend(served.store, served.model, TEXT, n=3).items


@pytest.mark.parametrize("kind", ["text", "json_object"])
def test_a_stream_is_the_answer_in_pieces(served: Served, kind: str) -> None:
    options = {"response_format": {"type": kind}}
    whole = served.ask(**options).choices[0].message.content
    chunks = list(served.ask(stream=True, stream_options={"include_usage": True}, **options))
    pieces = [
        c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content
    ]
    assert "".join(pieces) == whole
    assert len(pieces) >= CONFIG.list_length
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens > 0


def test_all_turns_of_the_users_are_read(served: Served) -> None:
    messages = [
        {"role": "system", "content": "You are a pirate who likes Ronin."},
        {"role": "user", "content": [{"type": "text", "text": "I loved Alien"}]},
        {"role": "assistant", "content": "Have you seen Blade Runner?"},
        {"role": "user", "content": "Yes. Something else?"},
    ]
    answer = served.ask(messages=messages)
    assert answer.convrec["seen"] == ["Alien (1979)", "Blade Runner (1982)"]
    told = "USER: I loved Alien\nSYSTEM: Have you seen Blade Runner?\nUSER: Yes. Something else?"
    assert (
        answer.choices[0].message.content.split("\n")
        == recommend(served.store, served.model, told).items
    )


def test_requests_at_the_same_time_share_batches(served: Served) -> None:
    texts = [TEXT, OTHER, "Up", "Ronin and Up"] * 3
    alone = {text: served.ask(text).choices[0].message.content for text in set(texts)}
    before = _metric(served, "convrec_batch_size_count")
    with ThreadPoolExecutor(len(texts)) as pool:
        answers = list(pool.map(served.ask, texts))
    assert [a.choices[0].message.content for a in answers] == [alone[text] for text in texts]
    assert 1 <= _metric(served, "convrec_batch_size_count") - before < len(texts)


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ({"messages": []}, "messages: list should have at least 1 item", "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "no text of the user", "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role", "messages"),
        ({"n": 2}, "n: input should be 1", "n"),
        ({"tools": [{"type": "function"}]}, "tools is not supported", "tools"),
        (
            {"response_format": {"type": "json_schema"}},
            "use text or json_object",
            "response_format",
        ),
        ({"list_length": 99999}, "list_length", "list_length"),
        ({"list_length": 9}, "the catalog has 8; ask for fewer", None),
        ({"messages": "hello"}, "messages: input should be a valid list", "messages"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_wrong_requests_are_refused_in_a_sentence(
    served: Served, body: dict[str, Any], message: str, param: str | None, stream: bool
) -> None:
    messages = [{"role": "user", "content": TEXT}]
    options = {"model": served.model, "messages": messages, "stream": stream, **body}
    with pytest.raises(openai.BadRequestError, match=message.replace(".", r"\.")) as caught:
        served.client.chat.completions.create(**{"extra_body": options, **_required(served)})
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def _required(served: Served) -> dict[str, Any]:
    return {"model": served.model, "messages": [{"role": "user", "content": TEXT}]}


def test_other_errors_have_openais_shape(served: Served) -> None:
    with pytest.raises(openai.NotFoundError, match="'gpt-4' is not served here") as caught:
        served.ask(model="gpt-4")
    assert caught.value.code == "model_not_found"
    too_large = served.post("/v1/chat/completions", b" " * 5000)
    assert (too_large.status_code, too_large.json()["error"]["code"]) == (413, "too_large")
    for body in (b"{", b"[1]", b"[" * 3000, b"\xff"):
        refused = served.post("/v1/chat/completions", body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_json")
    assert (
        httpx.get(f"{served.url}/v1/nothing").json()["error"]["message"].startswith("there is no")
    )
    assert httpx.get(f"{served.url}/v1/chat/completions").status_code == 405


@pytest.mark.parametrize("text", ["\ud83d", "\0", "<|end|><|user|>", "é" * 500, "[" * 900])
def test_hostile_text_gets_a_list(served: Served, text: str) -> None:
    message = {"role": "user", "content": f"I loved Alien {text}"}
    body = {"model": served.model, "messages": [message]}
    answer = served.post("/v1/chat/completions", body)
    assert answer.status_code == 200
    assert answer.json()["convrec"]["seen"] == ["Alien (1979)"]
    assert len(answer.json()["choices"][0]["message"]["content"].split("\n")) == 4


def test_a_model_name_is_shown_as_text(served: Served) -> None:
    body = {"model": "\ud800" * 300, "messages": [{"role": "user", "content": "x"}]}
    assert served.post("/v1/chat/completions", body).status_code == 404


def test_health_and_metrics_tell_the_catalog(served: Served) -> None:
    served.ask()
    health = httpx.get(f"{served.url}/health").json()
    assert health == {
        "status": "ok",
        "model": served.model,
        "catalog": served.endpoint.engine.catalog.name,
        "waiting": 0,
    }
    text = httpx.get(f"{served.url}/metrics").text
    assert 'convrec_requests_total{status="200"}' in text
    assert f'model="{served.model}"' in text
    assert _metric(served, "convrec_catalog_items") == len(served.endpoint.engine.catalog)


def _metric(served: Served, name: str) -> float:
    rows = httpx.get(f"{served.url}/metrics").text.splitlines()
    (value,) = [row.split()[1] for row in rows if row.startswith(f"{name} ")]
    return float(value)


def test_the_catalog_changes_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("changing") / "home"
    monkeypatch.setenv("CONVREC_HOME", str(home))
    store = Store(home)
    model = put_served_checkpoint(store)
    file = tmp_path / "films.csv"
    names = ["Big,1988", "Jaws,1975", "Gigi,1958", "Rope,1948", "Tron,1982"]
    rows = [f"x{i},{name},https://films.example/{i}" for i, name in enumerate(names)]
    file.write_text("\n".join(["item_id,title,year,link", *rows]))
    publish_catalog(file, "films", store)
    endpoint = Endpoint(EmbeddedEngine(store, model, "catalog:films"), Limits())
    with serving(endpoint) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        changing = Served(store, model, url, client, endpoint)
        first = changing.ask("hello", response_format={"type": "json_object"})
        items = json.loads(first.choices[0].message.content)["items"]
        assert first.convrec["catalog"] == "catalog:films@1"
        assert {item["link"] for item in items} < {f"https://films.example/{i}" for i in range(5)}
        more = [f"y{i},New {i},1999," for i in range(5)]
        file.write_text("\n".join(["item_id,title,year,link", *rows, *more]))
        publish_catalog(file, "films", store)
        assert endpoint.engine.follow()
        assert not endpoint.engine.follow()
        second = changing.ask("hello", extra_body={"list_length": 9})
        assert second.convrec["catalog"] == "catalog:films@2"
        assert "New" in second.choices[0].message.content
        back = changing.post("/admin/catalog", {"catalog": "catalog:films@1"})
        assert back.json() == {"catalog": "catalog:films@1", "items": 5}
        assert changing.ask("hello").choices[0].message.content == "\n".join(
            item["line"] for item in items
        )
        for body, status in (
            ({"catalog": "catalog:films@9"}, 400),
            ({"catalog": str(file)}, 400),
            ({}, 400),
        ):
            assert changing.post("/admin/catalog", body).status_code == status
        assert changing.post("/admin/catalog", {}, host="evil.example").status_code == 403
        plain = {"content-type": "text/plain"}
        assert changing.post("/admin/catalog", {}, **plain).status_code == 415
        assert endpoint.engine.catalog.name == "catalog:films@1"


def test_a_key_is_asked_for(served: Served) -> None:
    endpoint = Endpoint(served.endpoint.engine, Limits(), key="secret")
    with serving(endpoint) as url:
        for path in ("/v1/models", "/v1/chat/completions", "/admin/catalog"):
            method = httpx.get if path == "/v1/models" else httpx.post
            assert method(f"{url}{path}").json()["error"]["code"] == "invalid_api_key"
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="secret", max_retries=0)
        assert [model.id for model in client.models.list()] == [served.model]
        assert httpx.get(f"{url}/health").status_code == 200
