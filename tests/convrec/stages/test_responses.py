"""Answers that cannot be used: when a fetch stops, what it has bought by then, what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse

from convrec.artifacts import Store
from convrec.errors import InputError, TooManyFailures
from convrec.llm.answer_check import FIRST_LOOK
from convrec.llm.ledger import ledger_rows
from convrec.stages.recommend import TEACHER_LISTS
from convrec.stages.reflect import JUDGMENTS
from tests.support.asked_stages import (
    LIST,
    RATINGS,
    ask_judge,
    ask_teacher,
    is_repair,
    post_number,
    said,
    stage_config,
    stage_context,
)
from tests.support.batch_endpoint import BatchEndpoint, batch_endpoint
from tests.support.llm_endpoint import Endpoint, completion, refusal, running_endpoint

CONTEXTS = 120

Answer = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setattr("convrec.llm.dispatcher.INITIAL_DELAY", 0.01)
    monkeypatch.setattr("convrec.llm.batch.sender.INITIAL_POLL", 0.02)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with running_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def batches(endpoint: Endpoint, tmp_path: Path) -> Iterator[BatchEndpoint]:
    with batch_endpoint(tmp_path / "batches") as running:
        yield running


def script(endpoint: Endpoint, answer: Answer) -> None:
    endpoint.reply = lambda body: JSONResponse(answer(body))


TEACHER_FORMS = {
    "thinking": (said(None, "length", reasoning_content="Let me think"), "recommend.max_tokens"),
    "cut thought": (said("<think>They like heists", "length"), "recommend.max_tokens"),
    "empty": (said(""), "recommend.max_tokens"),
    "null": (said(None), "recommend.max_tokens"),
    "filter": (said(None, "content_filter"), "domain.teacher"),
    "refusal": (said(None, refusal="I cannot help with that."), "domain.teacher"),
    "spaces": (said(" \n\n "), "recommend.max_tokens"),
    "marks": (said("---\n***"), "domain.teacher"),
}


@pytest.mark.parametrize("form", TEACHER_FORMS)
@pytest.mark.parametrize("concurrency", [1, 64])
def test_a_teacher_without_a_list_is_stopped_early(
    store: Store, endpoint: Endpoint, form: str, concurrency: int
) -> None:
    answer, setting = TEACHER_FORMS[form]
    script(endpoint, lambda body: answer)
    config = stage_config(endpoint.url, llm={"max_concurrency": concurrency})
    with pytest.raises(TooManyFailures, match=r"20 of 20 answers of recommend cannot be") as caught:
        ask_teacher(config, store, CONTEXTS)
    assert setting in str(caught.value)
    assert len(endpoint.seen) == FIRST_LOOK
    assert len(caught.value.rows) == FIRST_LOOK
    assert sum(row["requests"] for row in ledger_rows(store)) == FIRST_LOOK


JUDGE_FORMS = {
    "prose": (said("They are all fine films."), "reflect.response_format"),
    "thinking": (said(None, "length", reasoning_content="Hm"), "reflect.max_tokens"),
    "cut": (said(RATINGS[:40], "length"), "reflect.max_tokens"),
    "one of three": (said('{"ratings": [{"candidate": 1, "rating": 1}]}'), "reflect."),
    "out of range": (said(RATINGS.replace('"rating": 1', '"rating": 77')), "reflect."),
    "empty": (said(""), "reflect.max_tokens"),
}


@pytest.mark.parametrize("form", JUDGE_FORMS)
def test_a_judge_without_ratings_is_stopped_early(
    store: Store, endpoint: Endpoint, form: str
) -> None:
    answer, setting = JUDGE_FORMS[form]
    script(endpoint, lambda body: answer)
    config = stage_config(endpoint.url)
    with pytest.raises(TooManyFailures, match="answers of reflect cannot be used") as caught:
        ask_judge(config, store, CONTEXTS)
    assert setting in str(caught.value)
    bought = len(endpoint.seen)
    assert FIRST_LOOK <= bought <= 2 * (FIRST_LOOK + 4)
    with pytest.raises(TooManyFailures) as again:
        ask_judge(config, store, CONTEXTS)
    assert (str(again.value), len(endpoint.seen)) == (str(caught.value), bought)


def test_repairs_that_help_save_a_run(store: Store, endpoint: Endpoint) -> None:
    script(endpoint, lambda body: said(RATINGS if is_repair(body) else "Fine films."))
    fetched = ask_judge(stage_config(endpoint.url), store, CONTEXTS)
    assert len(endpoint.seen) == 2 * CONTEXTS
    assert (fetched.requests, fetched.from_ledger, fetched.sent) == (240, 0, 240)
    again = ask_judge(stage_config(endpoint.url), store, CONTEXTS)
    assert (again.requests, again.from_ledger, again.sent) == (240, 240, 0)


def test_a_judge_that_breaks_in_the_middle_is_stopped(store: Store, endpoint: Endpoint) -> None:
    script(endpoint, lambda body: said(RATINGS if len(endpoint.seen) <= 60 else "Fine films."))
    with pytest.raises(TooManyFailures):
        ask_judge(stage_config(endpoint.url, llm={"max_concurrency": 1}), store, CONTEXTS)
    assert len(endpoint.seen) < 60 + 2 * 30


def test_the_sentence_shows_the_beginning_of_an_answer(
    store: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key-123456")
    text = "Fine films,\nall of them; secret-key-123456 " + "and so on " * 20
    script(endpoint, lambda body: said(text))
    with pytest.raises(TooManyFailures) as caught:
        ask_judge(stage_config(endpoint.url), store, CONTEXTS)
    assert "one begins “Fine films, all of them; … and so on" in str(caught.value)
    assert "secret-key" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_running_again_buys_nothing_and_another_setting_does(
    store: Store, endpoint: Endpoint
) -> None:
    script(endpoint, lambda body: said(LIST if body["max_tokens"] > 900 else None, "length"))
    low = stage_config(endpoint.url, recommend={"max_tokens": 900})
    messages = set()
    for _ in range(3):
        with pytest.raises(
            TooManyFailures, match=r"Raise recommend\.max_tokens \(now 900\)"
        ) as caught:
            ask_teacher(low, store, CONTEXTS)
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert len(endpoint.seen) == FIRST_LOOK
    high = stage_config(endpoint.url, recommend={"max_tokens": 2000})
    assert ask_teacher(high, store, CONTEXTS).sent == CONTEXTS


def test_a_few_stored_answers_count_with_the_next(store: Store, endpoint: Endpoint) -> None:
    script(endpoint, lambda body: said(""))
    config = stage_config(endpoint.url, llm={"max_failures": 1})
    ask_teacher(config, store, 12)
    with pytest.raises(TooManyFailures, match="20 of 20"):
        ask_teacher(stage_config(endpoint.url), store, CONTEXTS)
    assert len(endpoint.seen) == FIRST_LOOK


def test_a_teacher_that_breaks_between_two_runs_is_stopped(
    store: Store, endpoint: Endpoint
) -> None:
    ask_teacher(stage_config(endpoint.url), store, CONTEXTS)
    script(endpoint, lambda body: said(""))
    with pytest.raises(TooManyFailures, match=r"20 of 140 answers"):
        ask_teacher(stage_config(endpoint.url), store, 3 * CONTEXTS)
    assert len(endpoint.seen) <= CONTEXTS + FIRST_LOOK + 4


@pytest.mark.parametrize(
    ("contexts", "bad", "allowed", "stops"),
    [
        (20, 3, 0.2, False),
        (20, 4, 0.2, False),
        (20, 5, 0.2, True),
        (14, 1, 0.05, False),
        (14, 2, 0.05, True),
        (14, 14, 0.05, True),
        (14, 14, 1.0, False),
        (1, 1, 0.05, True),
        (2, 1, 0.0, False),
        (3, 2, 0.0, True),
        (100, 5, 0.05, False),
        (100, 6, 0.05, True),
        (100, 40, 0.5, False),
    ],
)
def test_max_failures_is_the_share_that_may_be_unusable(
    store: Store, endpoint: Endpoint, contexts: int, bad: int, allowed: float, stops: bool
) -> None:
    # Spread over the run, as answers that are bad by chance.
    numbers = {n * contexts // bad for n in range(bad)}
    script(endpoint, lambda body: said("" if post_number(body) in numbers else LIST))
    config = stage_config(endpoint.url, llm={"max_failures": allowed})
    if stops:
        with pytest.raises(TooManyFailures, match=rf"allows {100 * allowed:.1f}%"):
            ask_teacher(config, store, contexts)
    else:
        assert ask_teacher(config, store, contexts).sent == contexts
        assert len(endpoint.seen) == contexts


@pytest.mark.parametrize(("failed", "unusable", "stops"), [(1, 1, False), (3, 3, True)])
def test_failed_and_unusable_count_together(
    store: Store, endpoint: Endpoint, failed: int, unusable: int, stops: bool
) -> None:
    def reply(body: dict[str, Any]) -> Any:
        number = post_number(body)
        if number < failed:
            return refusal(400, "context_length_exceeded")
        return JSONResponse(said("" if number < failed + unusable else LIST))

    endpoint.reply = reply
    config = stage_config(endpoint.url)
    if stops:
        with pytest.raises(TooManyFailures, match=r"3 of \d+ answers .* and 3 requests failed"):
            ask_teacher(config, store, 60)
        assert len(endpoint.seen) <= FIRST_LOOK + 4
    else:
        assert ask_teacher(config, store, 60).sent == 60


def test_a_batch_is_stored_and_the_next_is_not_sent(store: Store, batches: BatchEndpoint) -> None:
    batches.reply = lambda body: completion("")
    batch = {"poll_seconds": 0.05, "max_requests": 30}
    config = stage_config(batches.start(), llm={"batch": batch}, recommend={"source": "batch"})
    with pytest.raises(TooManyFailures, match="cannot be used"):
        ask_teacher(config, store, CONTEXTS)
    bought = sum(row["requests"] for row in ledger_rows(store))
    assert bought == sum(batches.created) > 0
    with pytest.raises(TooManyFailures):
        ask_teacher(config, store, CONTEXTS, run="s")
    assert sum(batches.created) == bought


def write_replay(path: Path, answers: list[str]) -> None:
    lines = [
        {"custom_id": f"c{n:03}", "response": {"status_code": 200, "body": completion(text)}}
        for n, text in enumerate(answers)
    ]
    path.write_text("".join(json.dumps(line | {"error": None}) + "\n" for line in lines))


def test_a_replay_without_a_usable_answer_is_refused_and_not_stored(
    store: Store, endpoint: Endpoint, tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    write_replay(file, ["---"] * 30)
    replay = {"source": "replay", "replay": str(file)}
    config = stage_config(endpoint.url, recommend=replay)
    with pytest.raises(InputError, match=r"none of the 30 answers in .*one begins “---”"):
        ask_teacher(config, store, 30)
    live = ask_teacher(stage_config(endpoint.url), store, 30)
    assert (live.sent, live.from_ledger) == (30, 0)


def test_a_replay_with_many_unusable_answers_names_the_file(
    store: Store, endpoint: Endpoint, tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    write_replay(file, [LIST, LIST, *["---"] * 28])
    config = stage_config(endpoint.url, recommend={"source": "replay", "replay": str(file)})
    with pytest.raises(TooManyFailures, match=r"28 of 30 answers.*recommend\.replay"):
        ask_teacher(config, store, 30)
    write_replay(file, [LIST] * 29 + ["---"])
    other = Store(tmp_path / "other")
    assert ask_teacher(config, other, 30).failures == {}
    assert endpoint.seen == []


def test_the_contexts_of_a_stage_are_asked_once_if_all_is_well(
    store: Store, endpoint: Endpoint
) -> None:
    script(endpoint, lambda body: said(LIST))
    config = stage_config(endpoint.url)
    fetched = ask_teacher(config, store, CONTEXTS)
    assert (fetched.requests, fetched.from_ledger, fetched.sent) == (CONTEXTS, 0, CONTEXTS)


def test_a_stage_without_a_result_is_useless(store: Store, endpoint: Endpoint) -> None:
    config = stage_config(endpoint.url, llm={"max_failures": 1})
    script(endpoint, lambda body: said(""))
    ask_teacher(config, store, 5)
    ask_judge(config, store, 5)
    ctx = stage_context(config, store, 5)
    teacher, judge = TEACHER_LISTS.build(ctx), JUDGMENTS.build(ctx)
    assert "got no list for any of 5 conversations" in teacher.useless
    assert "reflect.enabled=false" in judge.useless
    assert [each.figures["answers usable"] for each in (teacher, judge)] == ["0 of 5"] * 2
    script(endpoint, lambda body: said(LIST))
    better = stage_config(endpoint.url, recommend={"max_tokens": 2000})
    ask_teacher(better, store, 5)
    built = TEACHER_LISTS.build(stage_context(better, store, 5))
    assert (built.useless, built.figures["answers usable"]) == ("", "5 of 5")
