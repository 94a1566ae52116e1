"""The commands of the guides, run as they are written by a new user: a bare clone, a bare HOME."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.bare_clone import BareClone, code_blocks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SERVER = "http://127.0.0.1:4200/api"
SECONDS = 1200.0
"""Seconds that a command may take on a busy machine."""


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[BareClone]:
    with socket.socket() as probe:
        if not probe.connect_ex(("127.0.0.1", 4200)):
            pytest.skip("a server listens on port 4200, which the guides use")
    bare = BareClone(tmp_path)
    bare.shrink_demo()
    yield bare
    bare.close()


def wait_for_server(log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        with suppress(OSError), urllib.request.urlopen(f"{SERVER}/health", timeout=5):
            return
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)


def post(path: str, query: object) -> list[dict[str, object]]:
    request = urllib.request.Request(
        SERVER + path, json.dumps(query).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        rows: list[dict[str, object]] = json.load(response)
    return rows


def test_the_schedule_guide_works_as_it_is_written(clone: BareClone) -> None:
    commands = code_blocks(
        "docs/guides/schedule.md", "Start the server and a worker", "Start a run by hand"
    )
    assert commands[:3] == ["make ui", "make deploy", "make worker"]
    assert "prefect deployment run pipeline/demo --watch" in commands
    for command in commands:
        if command in ("make ui", "make worker"):
            log = clone.start(command)
            if command == "make ui":
                wait_for_server(log)
            continue
        result = clone.run(command, SECONDS)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "Traceback" not in result.stdout + result.stderr
        assert "temporary server" not in result.stdout + result.stderr

    runs = post("/flow_runs/filter", {})
    states = {str(run["name"]): run["state_type"] for run in runs}
    assert states["pipeline · demo"] == "COMPLETED", states
    assert len(runs) == sum(command.startswith("prefect deployment run") for command in commands)
    assert (clone.home / ".prefect" / "prefect.db").exists()

    again = clone.run("make deploy", SECONDS)
    assert again.returncode == 0, again.stdout + again.stderr
    names = [automation["name"] for automation in post("/automations/filter", {})]
    assert len(names) == len(set(names)) == 2
