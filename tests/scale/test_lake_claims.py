"""Two hosts of one lake, each with its own home, never send the same request."""

from __future__ import annotations

import threading
import time
import uuid
from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.errors import WarehouseError
from convrec.llm.batch.client import BatchClient
from convrec.llm.response_store import ResponseStore
from convrec.operations.forget import forget_conversations
from tests.support.batch_endpoint import batch_endpoint, fetch_in_batches
from tests.support.llm_endpoint import fetch_in_child, make_request, running_endpoint
from tests.support.servers import Postgres
from tests.support.stored_responses import nothing_stored

pytestmark = pytest.mark.scale


@pytest.fixture
def hosts(
    postgres_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Store, Store]:
    address = postgres_server.create_database(f"test_{uuid.uuid4().hex[:12]}")
    monkeypatch.setenv("CONVREC_WAREHOUSE", f"ducklake:postgres:{address}")
    monkeypatch.setenv("CONVREC_LAKE_DATA", str(tmp_path / "data"))
    return Store(tmp_path / "one"), Store(tmp_path / "two")


def test_a_key_is_claimed_by_one_host_at_a_time(
    hosts: tuple[Store, Store], postgres_server: Postgres
) -> None:
    one, two = map(ResponseStore, hosts)
    with one.open_spool() as here, two.open_spool() as there:
        assert here.claim(["a", "b"], nothing_stored).granted == ["a", "b"]
        claim = there.claim(["b", "c"], nothing_stored)
        assert (claim.granted, claim.elsewhere) == (["c"], ["b"])
        assert two.claimed_elsewhere(["a", "b", "d"]) == {"a", "b"}

        postgres_server.control("restart")
        here.claim(["e"], nothing_stored)
        assert there.claim(["a", "e"], nothing_stored).elsewhere == ["a", "e"]

        here.release(["b"])
        assert there.claim(["b"], nothing_stored).granted == ["b"]
        with pytest.raises(WarehouseError, match="a run is sending requests"):
            forget_conversations(["x"], Store(hosts[0].home.parent / "three"))
    with one.open_spool() as here:
        assert here.claim(["a", "b", "c", "e"], nothing_stored).elsewhere == []


def test_two_hosts_divide_the_requests(hosts: tuple[Store, Store]) -> None:
    with running_endpoint() as endpoint:
        endpoint.latency = 0.01
        both = [fetch_in_child(host.home, endpoint.url, 150) for host in hosts]
        counts = [tuple(map(int, p.communicate(timeout=120)[0].split())) for p in both]
    assert [found + sent for found, sent in counts] == [150, 150]
    assert sum(sent for _, sent in counts) == 150
    assert set(endpoint.counts.values()) == {1}


def test_only_one_host_submits_a_batch(
    hosts: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [make_request(n) for n in range(6)]
    upload, other_threads = BatchClient.upload_file, []

    def slow_upload(self: BatchClient, path: Path, name: str) -> str:
        if not other_threads:
            other = threading.Thread(
                target=fetch_in_batches, args=(requests, url, hosts[1], "other")
            )
            other_threads.append(other)
            other.start()
            time.sleep(4)
        return upload(self, path, name)

    monkeypatch.setattr(BatchClient, "upload_file", slow_upload)
    with batch_endpoint(tmp_path / "endpoint") as batches:
        url = batches.start()
        fetch_in_batches(requests, url, hosts[0])
        other_threads[0].join(60)
        assert batches.created == [6]
