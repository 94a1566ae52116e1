from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.llm.response_store import ResponseStore

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def slow_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    log = tmp_path / "server.jsonl"
    command = [sys.executable, "-m", "flows.cli", "llm", "serve-demo", "--port", "0"]
    command += ["--latency-ms", "400", "--log", str(log)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    yield process.stdout.readline().strip(), log
    process.terminate()
    process.wait(10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stores_responses_in_flight(
    tmp_path: Path, slow_server: tuple[str, Path], number: signal.Signals
) -> None:
    url, log = slow_server
    home = tmp_path / "home"
    command = [sys.executable, "-m", "flows.cli", "run", "demo", "--until", "recommend"]
    command += ["--set", f"llm.base_url={url}", "--set", "llm.max_concurrency=4"]
    contexts = json.dumps({"train": 200, "validation": 5, "test": 5})
    command += ["--set", f"ingest.contexts={contexts}"]
    environment = {
        **os.environ,
        "CONVREC_HOME": str(home),
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    for name in ("PREFECT_API_URL", "PREFECT_TEST_MODE"):
        environment.pop(name, None)
    run = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not (log.exists() and log.read_text().count("\n") > 4):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(number)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "To go on from here: convrec run demo --until recommend" in errors
    assert "Traceback" not in errors
    store = Store(home)
    ResponseStore(store).recover()
    served = {json.loads(line)["key"] for line in log.read_text().splitlines()}
    assert 4 < len(served) < 210  # it stopped early
    assert set(ResponseStore(store).digests(served)) == served
