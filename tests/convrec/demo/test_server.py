from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from convrec.demo import EMBEDDERS, MODELS, embed
from convrec.demo.faults import Faults
from convrec.demo.server import bind, create_app
from convrec.errors import InputError
from tests.support.llm_endpoint import completion


def complete(body: dict[str, Any]) -> dict[str, Any]:
    text = body["messages"][-1]["content"]
    if text == "unreadable":
        raise ValueError("these words cannot be read")
    return completion(text.upper())


def body(text: str = "hello", model: str = "demo-teacher") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]}


@pytest.fixture
def client() -> TestClient:
    return TestClient(create_app(complete, MODELS))


def test_the_server_responds_and_lists_its_models(client: TestClient) -> None:
    response = client.post("/v1/chat/completions", json=body("hello"))
    assert response.json()["choices"][0]["message"]["content"] == "HELLO"
    assert client.get("/health").json() == {"status": "ok"}
    models = client.get("/v1/models").json()
    assert [m["id"] for m in models["data"]] == ["demo-teacher", "demo-judge"]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[]", 400, None),
        (json.dumps({"model": "demo-teacher"}).encode(), 400, None),
        (json.dumps({"model": "demo-teacher", "messages": ["hi"]}).encode(), 400, None),
        (json.dumps(body(model="gpt-9")).encode(), 404, "model_not_found"),
        (json.dumps({**body(), "stream": True}).encode(), 400, None),
        (json.dumps(body("unreadable")).encode(), 400, None),
    ],
)
def test_bad_input_gets_an_openai_error(
    client: TestClient, content: bytes, status: int, code: str | None
) -> None:
    response = client.post("/v1/chat/completions", content=content)
    assert response.status_code == status
    error = response.json()["error"]
    assert error["code"] == code
    assert error["type"] == "invalid_request_error"
    assert error["message"]


def test_faults_have_their_shares_and_are_logged() -> None:
    log = io.StringIO()
    faults = Faults.parse("429:0.3,garbage:0.2", seed=1)
    client = TestClient(create_app(complete, MODELS, faults=faults, log=log))
    for n in range(300):
        client.post("/v1/chat/completions", json=body(f"{n}"))
    outcomes = [json.loads(row)["outcome"] for row in log.getvalue().splitlines()]
    assert len(outcomes) == 300
    assert 60 < outcomes.count("429") < 120
    assert 35 < outcomes.count("garbage") < 85
    assert outcomes.count("200") > 100


@pytest.mark.parametrize("text", ["503:0.1", "429:2", "429", "429:0.6,500:0.6", "429:x"])
def test_unknown_faults_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="NAME:SHARE"):
        Faults.parse(text)


def test_the_error_names_a_taken_port() -> None:
    with bind(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        port = listener.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} cannot be used"):
            bind(port)


def test_embeddings_are_plain_or_base64() -> None:
    client = TestClient(create_app(complete, MODELS, embed=embed, embedders=EMBEDDERS))
    asked = {"model": "demo-embedder", "input": ["a crime film", "crime, a film", "romance"]}
    plain = client.post("/v1/embeddings", json=asked).json()
    packed = client.post("/v1/embeddings", json={**asked, "encoding_format": "base64"}).json()
    vectors = [np.array(row["embedding"], dtype=np.float32) for row in plain["data"]]
    bytes_of = [base64.b64decode(row["embedding"]) for row in packed["data"]]
    assert [vector.tobytes() for vector in vectors] == bytes_of
    assert vectors[0] @ vectors[1] == pytest.approx(1.0)
    assert abs(vectors[0] @ vectors[2]) < 0.5
    assert plain["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    models = client.get("/v1/models").json()["data"]
    assert [model["id"] for model in models] == [*MODELS, "demo-embedder"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"model": "demo-teacher", "input": ["a"]}, 404),
        ({"model": "demo-embedder"}, 400),
        ({"model": "demo-embedder", "input": ["a", ""]}, 400),
        ({"model": "demo-embedder", "input": []}, 400),
    ],
)
def test_invalid_embedding_requests_are_refused(asked: dict[str, Any], status: int) -> None:
    client = TestClient(create_app(complete, MODELS, embed=embed, embedders=EMBEDDERS))
    assert client.post("/v1/embeddings", json=asked).status_code == status


def test_a_server_without_embeddings_responds_404(client: TestClient) -> None:
    assert client.post("/v1/embeddings", json={"model": "m", "input": ["a"]}).status_code == 404


def test_a_server_without_files_creates_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    client = TestClient(create_app(complete, MODELS))
    assert client.post("/v1/chat/completions", json=body()).status_code == 200
    assert client.get("/v1/files").json()["data"] == []
    assert not list(tmp_path.iterdir())
