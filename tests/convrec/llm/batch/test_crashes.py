"""A run that is killed at any moment submits no batch twice and loses no response."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.llm.ledger import ledger_rows
from tests.support.batch_endpoint import BatchEndpoint, fetch_in_batches, stored_count
from tests.support.llm_endpoint import ROOT, make_request

pytestmark = pytest.mark.on_ducklake

SCRIPT = """
import os, signal, sys
from pathlib import Path
from convrec.artifacts import Store
from convrec.llm.batch.client import BatchClient
from convrec.llm.batch.store import BatchDraft, BatchStore
from tests.support.batch_endpoint import fetch_in_batches
from tests.support.llm_endpoint import make_request

home, url, moment = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def after(owner, name):
    real = getattr(owner, name)
    def act(*args, **options):
        real(*args, **options)
        die()
    setattr(owner, name, act)

if moment == "while packing":
    after(BatchDraft, "write_requests")
elif moment == "before upload":
    BatchClient.upload_file = die
elif moment == "after upload":
    after(BatchClient, "upload_file")
elif moment == "before create":
    BatchClient.create_batch = die
elif moment == "after create":
    after(BatchClient, "create_batch")
elif moment == "while polling":
    after(BatchClient, "get_batch")
elif moment == "while downloading":
    after(BatchClient, "download_file")
elif moment == "after storing":
    BatchStore.end = die
fetch_in_batches([make_request(n) for n in range(12)], url, Store(home))
"""

MOMENTS = (
    "while packing",
    "before upload",
    "after upload",
    "before create",
    "after create",
    "while polling",
    "while downloading",
    "after storing",
)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_submits_once_and_loses_nothing(
    tmp_path: Path, batches: BatchEndpoint, moment: str
) -> None:
    home = tmp_path / "home"
    url = batches.start(batch_seconds=0.3)
    killed = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(home), url, moment],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    requests = [make_request(n) for n in range(12)]
    store = Store(home)
    fetched = fetch_in_batches(requests, url, store, run="second")
    assert batches.created == [12]
    assert fetched.requests == 12
    assert stored_count(store, requests) == 12
    rows = ledger_rows(store)
    assert sum(row["requests"] for row in rows) == 12
    submitted = moment not in ("while packing", "before upload", "after upload", "before create")
    assert {row["run"] for row in rows} == {"r" if submitted else "second"}
    assert not list((home / "spool").glob("batch-*.jsonl"))
