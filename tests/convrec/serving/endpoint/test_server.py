"""`convrec serve` as a process: it answers, finishes what it began, and ends quietly."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import openai
import pytest

from convrec.artifacts import Store
from convrec.errors import InputError
from convrec.serving.endpoint.server import check_host, listen
from convrec.serving.recommend import recommend
from tests.support.served_checkpoint import put_served_checkpoint

TEXT = "I loved Heat"


def test_a_signal_ends_it_after_the_answers(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    checkpoint = put_served_checkpoint(store)
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "serve", checkpoint[:15], "--port", "0", "--window", "900"],
        env={**os.environ, "CONVREC_HOME": str(store.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+/v1): (\S+), catalog checkpoint .*\n", line)
        assert found is not None, line
        assert found[2] == checkpoint
        client = openai.OpenAI(base_url=found[1], api_key="none", max_retries=0)
        answers: list[str | None] = []

        def ask() -> None:
            answer = client.chat.completions.create(
                model=checkpoint, messages=[{"role": "user", "content": TEXT}]
            )
            answers.append(answer.choices[0].message.content)

        thread = threading.Thread(target=ask)
        thread.start()
        threading.Event().wait(0.4)  # the request waits for its batch to fill
        process.send_signal(signal.SIGTERM)
        thread.join(30)
        assert answers == ["\n".join(recommend(store, checkpoint, TEXT).items)]
        assert process.wait(30) == 0
        assert process.communicate()[1] == ""
    finally:
        process.kill()


def test_the_network_needs_a_key() -> None:
    check_host("127.0.0.1", "")
    check_host("0.0.0.0", "secret")
    with pytest.raises(InputError, match=r"--host 0\.0\.0\.0 would serve everyone.*SERVE_KEY"):
        check_host("0.0.0.0", "")


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1:{port} cannot be used.*or --port 0"):
            listen("127.0.0.1", port)
    with pytest.raises(InputError, match="choose another --host"):
        listen("no.such.host.invalid", 0)
