"""Two hosts of one lake, each with a home of its own, agree on who sends a request."""

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
from convrec.llm.spool import KeyStatus
from convrec.operations.forget import forget_conversations
from tests.convrec.llm.batch.test_run import BatchEndpoint, batches, in_batches
from tests.convrec.llm.conftest import Endpoint, ask, endpoint
from tests.convrec.llm.test_fetch_crashes import child
from tests.servers import Postgres

__all__ = ["batches", "endpoint"]

pytestmark = pytest.mark.scale


@pytest.fixture
def hosts(
    postgres_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Store, Store]:
    address = postgres_server.database(f"test_{uuid.uuid4().hex[:12]}")
    monkeypatch.setenv("CONVREC_WAREHOUSE", f"ducklake:postgres:{address}")
    monkeypatch.setenv("CONVREC_LAKE_DATA", str(tmp_path / "data"))
    return Store(tmp_path / "one"), Store(tmp_path / "two")


def nothing(keys: list[str]) -> KeyStatus:
    return KeyStatus(set(), set())


def test_a_key_is_claimed_by_one_host_until_it_lets_go(
    hosts: tuple[Store, Store], postgres_server: Postgres
) -> None:
    one, two = map(ResponseStore, hosts)
    with one.open_spool() as here, two.open_spool() as there:
        assert here.claim(["a", "b"], nothing).mine == ["a", "b"]
        claim = there.claim(["b", "c"], nothing)
        assert (claim.mine, claim.elsewhere) == (["c"], ["b"])
        assert two.asked_elsewhere(["a", "b", "d"]) == {"a", "b"}

        postgres_server.control("restart")
        here.claim(["e"], nothing)
        assert there.claim(["a", "e"], nothing).elsewhere == ["a", "e"]

        here.release(["b"])
        assert there.claim(["b"], nothing).mine == ["b"]
        with pytest.raises(WarehouseError, match="asking an endpoint"):
            forget_conversations(["x"], Store(hosts[0].home.parent / "three"))
    with one.open_spool() as here:
        assert here.claim(["a", "b", "c", "e"], nothing).elsewhere == []


def test_two_hosts_share_the_work(hosts: tuple[Store, Store], endpoint: Endpoint) -> None:
    endpoint.latency = 0.01
    both = [child(host.home, endpoint.url, 150) for host in hosts]
    counts = [tuple(map(int, p.communicate(timeout=120)[0].split())) for p in both]
    assert [found + sent for found, sent in counts] == [150, 150]
    assert sum(sent for _, sent in counts) == 150
    assert set(endpoint.counts.values()) == {1}


def test_a_batch_that_one_host_is_submitting_is_left_to_it_by_the_other(
    hosts: tuple[Store, Store], batches: BatchEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [ask(n) for n in range(6)]
    url = batches.start()
    real, others = BatchClient.upload, []

    def upload(self: BatchClient, path: Path, name: str) -> str:
        if not others:
            other = threading.Thread(target=in_batches, args=(requests, url, hosts[1], "other"))
            others.append(other)
            other.start()
            time.sleep(4)
        return real(self, path, name)

    monkeypatch.setattr(BatchClient, "upload", upload)
    in_batches(requests, url, hosts[0])
    others[0].join(60)
    assert batches.created == [6]
