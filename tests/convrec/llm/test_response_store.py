from __future__ import annotations

import fcntl
import json
import resource
from contextlib import nullcontext
from dataclasses import asdict, replace
from unittest.mock import Mock

import pytest

from convrec.artifacts import Store
from convrec.errors import WarehouseError
from convrec.llm.ledger import ledger_rows, spent_usd
from convrec.llm.read import response_text
from convrec.llm.response import Response
from convrec.llm.response_store import ResponseStore, response_digest
from convrec.llm.spool import KeyStatus, Spool, claimed_keys, read_segment, recover
from tests.support.llm_endpoint import completion
from tests.support.stored_responses import RESPONSE, nothing_stored


def keys_of(answers: ResponseStore, *keys: str) -> set[str]:
    return set(answers.digests(keys))


def test_an_answer_comes_back_raw(store: Store) -> None:
    answers = ResponseStore(store)
    answers.add([RESPONSE])
    assert answers.responses(["k1", "k2"]) == {"k1": completion("1. Heat (1995)")}
    assert answers.digests(["k1"]) == {"k1": response_digest(RESPONSE.response)}
    assert answers.digests([]) == {}


def test_repeats_change_nothing(store: Store) -> None:
    answers = ResponseStore(store)
    answers.add([RESPONSE, RESPONSE])
    answers.add([RESPONSE])
    assert [row["requests"] for row in ledger_rows(store)] == [1]
    with store.read_connection() as connection:
        assert connection.execute("SELECT count(*) FROM llm_answers").fetchone() == (1,)


def test_a_second_purchase_is_billed_and_the_first_answer_stays(store: Store) -> None:
    answers = ResponseStore(store)
    answers.add([RESPONSE])
    later = replace(
        RESPONSE,
        response=json.dumps(completion("1. Ronin (1998)")),
        created_at="2025-01-01T00:00:00.000002",
    )
    answers.add([later])
    assert answers.responses(["k1"])["k1"] == completion("1. Heat (1995)")
    assert ledger_rows(store)[0]["requests"] == 2


def test_the_digest_is_of_the_words_not_of_the_envelope() -> None:
    body = completion("1. Heat (1995)")
    other = {**body, "id": "y", "created": 2, "usage": {}}
    assert response_digest(json.dumps(body)) == response_digest(json.dumps(other))
    words = completion("1. Ronin (1998)")
    assert response_digest(json.dumps(body)) != response_digest(json.dumps(words))


def test_a_hundred_thousand_keys_are_one_question(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ResponseStore(store)
    answers.add([replace(RESPONSE, key=f"{n:064d}") for n in range(2000)])
    with store.read_connection() as connection:
        counted = Mock(wraps=connection)
        monkeypatch.setattr(store, "read_connection", lambda: nullcontext(counted))
        assert len(answers.digests([f"{n:064d}" for n in range(100_000)])) == 2000
    counted.execute.assert_called_once()


def dead_spool(store: Store, *answers: Response) -> Spool:
    """A spool as a process leaves it that is killed after the fsync."""
    spool = Spool(store.home / "spool").__enter__()
    spool.claim([answer.key for answer in answers], nothing_stored)
    spool.append(answers)
    (spool.folder / f"{spool.name}.fresh").touch()
    assert spool._claims is not None
    fcntl.flock(spool._claims, fcntl.LOCK_UN)
    return spool


def test_what_a_dead_process_left_is_saved_at_open(store: Store) -> None:
    dead_spool(store, RESPONSE)
    answers = ResponseStore(store)
    assert keys_of(answers, "k1") == {"k1"}
    assert ledger_rows(store)[0]["usd"] == 0.5
    assert sorted(p.name for p in answers.folder.iterdir()) == ["turn.lock"]


def test_what_a_dead_process_left_is_spent(store: Store) -> None:
    dead_spool(store, RESPONSE)
    assert spent_usd(store, "r") == 0.5


def test_a_crash_between_commit_and_tidying_counts_once(store: Store) -> None:
    dead_spool(store, RESPONSE)
    seen: list[Response] = []
    recover(store.home / "spool", seen.extend)
    dead_spool(store, RESPONSE)
    ResponseStore(store).add(seen)
    ResponseStore(store)
    assert ledger_rows(store)[0]["requests"] == 1


def test_a_living_process_keeps_its_spool(store: Store) -> None:
    with Spool(store.home / "spool") as spool:
        spool.append([RESPONSE])
        assert keys_of(ResponseStore(store), "k1") == set()
        segment = spool.seal()
        assert segment is not None
        assert read_segment(segment) == [RESPONSE]


def test_a_last_line_cut_short_is_survived(store: Store) -> None:
    spool = dead_spool(store, RESPONSE)
    segment = spool.seal()
    assert segment is not None
    whole = segment.read_bytes()
    cut = json.dumps(asdict(replace(RESPONSE, key="k2"))).encode()[:-20]
    segment.write_bytes(whole + cut)
    assert keys_of(ResponseStore(store), "k1", "k2") == {"k1"}


def test_claims_are_taken_once_and_let_go(store: Store) -> None:
    folder = store.home / "spool"
    with Spool(folder) as first, Spool(folder) as second:
        assert first.claim(["a", "b"], lambda keys: KeyStatus({"b"}, set())).mine == ["a"]
        claim = second.claim(["a", "b", "c"], lambda keys: KeyStatus({"b"}, set()))
        assert (claim.mine, claim.stored, claim.elsewhere) == (["c"], {"b"}, ["a"])
        first.release(["a"])
        assert second.claim(["a"], nothing_stored).mine == ["a"]


def test_claims_of_a_dead_process_wait_for_its_answers(store: Store) -> None:
    dead_spool(store, RESPONSE)
    folder = store.home / "spool"
    with Spool(folder) as spool:
        assert spool.claim(["k1"], nothing_stored).elsewhere == ["k1"]
        answers = ResponseStore(store)
        claim = spool.claim(["k1"], answers.standing)
        assert (claim.mine, claim.stored) == ([], {"k1"})


def test_claims_stand_where_new_ones_cannot_be_written(store: Store) -> None:
    folder = store.home / "spool"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Spool(folder) as spool:
        spool.claim(["k1"], nothing_stored)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            with pytest.raises(WarehouseError, match="cannot be kept"):
                spool.claim(["k2"], nothing_stored)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert claimed_keys(folder) == {"k1"}
    assert [path.name for path in folder.iterdir()] == ["turn.lock"]


def test_half_a_character_in_an_answer_stops_neither_a_commit_nor_a_reader(store: Store) -> None:
    response = json.dumps(completion("1. Heat\ud83d (1995)"))
    answers = ResponseStore(store)
    answers.add([replace(RESPONSE, response=response)])
    assert set(answers.digests(["k1"])) == {"k1"}
    assert response_text(answers.responses(["k1"])["k1"]) == ("1. Heat? (1995)", "")
