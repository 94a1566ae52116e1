from __future__ import annotations

import json
import resource
from contextlib import nullcontext
from dataclasses import asdict, replace
from unittest.mock import Mock

import pytest

from convrec.artifacts import Store
from convrec.errors import WarehouseError
from convrec.llm.answer import read_answer
from convrec.llm.ledger import ledger_rows, spent_usd
from convrec.llm.response import Response
from convrec.llm.response_store import ResponseStore, response_digest
from convrec.llm.spool import KeyStatus, Spool, claimed_keys, read_segment, recover
from tests.support.llm_endpoint import completion
from tests.support.stored_responses import RESPONSE, dead_spool, nothing_stored

pytestmark = pytest.mark.on_ducklake


def keys_of(responses: ResponseStore, *keys: str) -> set[str]:
    return set(responses.digests(keys))


def test_responses_are_returned_raw(store: Store) -> None:
    responses = ResponseStore(store)
    responses.add([RESPONSE])
    assert responses.responses(["k1", "k2"]) == {"k1": completion("1. Heat (1995)")}
    assert responses.digests(["k1"]) == {"k1": response_digest(RESPONSE.response)}
    assert responses.digests([]) == {}


def test_adding_again_changes_nothing(store: Store) -> None:
    responses = ResponseStore(store)
    responses.add([RESPONSE, RESPONSE])
    responses.add([RESPONSE])
    assert [row["requests"] for row in ledger_rows(store)] == [1]
    with store.read_connection() as connection:
        assert connection.execute("SELECT count(*) FROM llm_answers").fetchone() == (1,)


def test_a_second_purchase_is_billed_but_not_stored(store: Store) -> None:
    responses = ResponseStore(store)
    responses.add([RESPONSE])
    later = replace(
        RESPONSE,
        response=json.dumps(completion("1. Ronin (1998)")),
        created_at="2025-01-01T00:00:00.000002",
    )
    responses.add([later])
    assert responses.responses(["k1"])["k1"] == completion("1. Heat (1995)")
    assert ledger_rows(store)[0]["requests"] == 2


def test_the_digest_covers_the_text_not_the_envelope() -> None:
    body = completion("1. Heat (1995)")
    other = {**body, "id": "y", "created": 2, "usage": {}}
    assert response_digest(json.dumps(body)) == response_digest(json.dumps(other))
    words = completion("1. Ronin (1998)")
    assert response_digest(json.dumps(body)) != response_digest(json.dumps(words))


def test_a_hundred_thousand_keys_are_one_query(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    responses = ResponseStore(store)
    responses.add([replace(RESPONSE, key=f"{n:064d}") for n in range(2000)])
    with store.read_connection() as connection:
        counted = Mock(wraps=connection)
        monkeypatch.setattr(store, "read_connection", lambda: nullcontext(counted))
        assert len(responses.digests([f"{n:064d}" for n in range(100_000)])) == 2000
    counted.execute.assert_called_once()


def test_recover_saves_the_responses_of_a_dead_process(store: Store) -> None:
    dead_spool(store, RESPONSE)
    responses = ResponseStore(store)
    assert keys_of(responses, "k1") == set()
    assert responses.recover() == 1
    assert keys_of(responses, "k1") == {"k1"}
    assert ledger_rows(store)[0]["usd"] == 0.5
    assert sorted(p.name for p in responses.folder.iterdir()) == ["turn.lock"]


def test_responses_of_a_dead_process_count_as_spent(store: Store) -> None:
    dead_spool(store, RESPONSE)
    assert spent_usd(store, "r") == 0.5


def test_a_crash_between_commit_and_cleanup_counts_once(store: Store) -> None:
    dead_spool(store, RESPONSE)
    seen: list[Response] = []
    recover(store.home / "spool", seen.extend)
    dead_spool(store, RESPONSE)
    ResponseStore(store).add(seen)
    ResponseStore(store).recover()
    assert ledger_rows(store)[0]["requests"] == 1


def test_a_living_process_keeps_its_spool(store: Store) -> None:
    with Spool(store.home / "spool") as spool:
        spool.append([RESPONSE])
        assert ResponseStore(store).recover() == 0
        segment = spool.seal()
        assert segment is not None
        assert read_segment(segment) == [RESPONSE]


def test_a_truncated_last_line_is_skipped(store: Store) -> None:
    spool = dead_spool(store, RESPONSE)
    segment = spool.seal()
    assert segment is not None
    complete = segment.read_bytes()
    truncated = json.dumps(asdict(replace(RESPONSE, key="k2"))).encode()[:-20]
    segment.write_bytes(complete + truncated)
    assert ResponseStore(store).recover() == 1
    assert keys_of(ResponseStore(store), "k1", "k2") == {"k1"}


def test_a_key_is_claimed_once_until_it_is_released(store: Store) -> None:
    folder = store.home / "spool"
    with Spool(folder) as first, Spool(folder) as second:
        assert first.claim(["a", "b"], lambda keys: KeyStatus({"b"}, set())).granted == ["a"]
        claim = second.claim(["a", "b", "c"], lambda keys: KeyStatus({"b"}, set()))
        assert (claim.granted, claim.stored, claim.elsewhere) == (["c"], {"b"}, ["a"])
        first.release(["a"])
        assert second.claim(["a"], nothing_stored).granted == ["a"]


def test_claims_of_a_dead_process_last_until_recovery(store: Store) -> None:
    dead_spool(store, RESPONSE)
    folder = store.home / "spool"
    with Spool(folder) as spool:
        assert spool.claim(["k1"], nothing_stored).elsewhere == ["k1"]
        responses = ResponseStore(store)
        responses.recover()
        claim = spool.claim(["k1"], responses.key_status)
        assert (claim.granted, claim.stored) == ([], {"k1"})


def test_claims_survive_a_failed_write(store: Store) -> None:
    folder = store.home / "spool"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Spool(folder) as spool:
        spool.claim(["k1"], nothing_stored)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            with pytest.raises(WarehouseError, match="cannot be written"):
                spool.claim(["k2"], nothing_stored)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert claimed_keys(folder) == {"k1"}
    assert [path.name for path in folder.iterdir()] == ["turn.lock"]


def test_a_lone_surrogate_in_a_response_is_tolerated(store: Store) -> None:
    response = json.dumps(completion("1. Heat\ud83d (1995)"))
    responses = ResponseStore(store)
    responses.add([replace(RESPONSE, response=response)])
    assert set(responses.digests(["k1"])) == {"k1"}
    assert read_answer(responses.responses(["k1"])["k1"]).text == "1. Heat? (1995)"
