"""Lists of a real vLLM server, without a GPU: of the catalog, different, nothing seen.

They are those of the embedded engine for a model that writes titles in the tokens that it learned;
the random model here does not.

The environment is that of `test_vllm_training.py`:

    CONVREC_VLLM_PYTHON=vllm-venv/bin/python .venv/bin/pytest -m slow tests/slow/test_vllm*
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from convrec.artifacts import Store
from convrec.serving.endpoint.engine import ListAnswer, ListRequest
from convrec.serving.endpoint.vllm_engine import VllmEngine
from convrec.serving.export import export_checkpoint
from tests.support.served_checkpoint import ITEMS, put_served_checkpoint

PYTHON = os.environ.get("CONVREC_VLLM_PYTHON", "")
START_SECONDS = 600
SETTINGS = ["--dtype", "float32", "--max-model-len", "512", "--enforce-eager"]
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
}
TEXTS = {
    "I loved Alien and Heat (1995)": ["Alien (1979)", "Heat (1995)"],
    "something with Blade Runner in space": ["Blade Runner (1982)"],
    "anything": [],
}
"""Text → the lines that it names."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PYTHON, reason="CONVREC_VLLM_PYTHON names no interpreter with vLLM"),
]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    store = Store(tmp_path_factory.mktemp("vllm") / "home")
    return store, put_served_checkpoint(store, hidden=64)  # vLLM needs heads of 32 or more


@pytest.fixture(scope="module")
def url(stored: tuple[Store, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = export_checkpoint(*stored, tmp_path_factory.mktemp("exported") / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    server = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    log = tmp_path_factory.mktemp("log") / "vllm.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*server, "--host", "127.0.0.1", "--port", port, *SETTINGS],
            env={**os.environ, **ENVIRONMENT},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            if httpx.get(address).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(2)
    raise AssertionError(log.read_text()[-3000:])


def test_lists_are_valid(stored: tuple[Store, str], url: str) -> None:
    engine = VllmEngine(*stored, url)
    for text, seen in TEXTS.items():
        (answer,) = engine.answer([ListRequest(text, 4)])
        assert isinstance(answer, ListAnswer)
        lines = {item.line for item in answer.items}
        assert len(lines) == len(answer.items) == 4
        assert lines <= {f"{title} ({year})" for _, title, year in ITEMS} - set(seen)
        assert answer.seen == seen
        assert answer.completion_tokens > 0
