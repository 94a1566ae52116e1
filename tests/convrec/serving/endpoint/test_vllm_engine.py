"""The engine of a vLLM server, against a stand-in that keeps to grammars and repeats itself."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from convrec.artifacts import Store
from convrec.errors import InputError
from convrec.models.load import load_tokenizer
from convrec.models.prompts import encode_student_prompt, served_prompt
from convrec.serving.endpoint.app import Endpoint, Limits
from convrec.serving.endpoint.engine import ListRequest
from convrec.serving.endpoint.grammar import list_grammar
from convrec.serving.endpoint.vllm_engine import VllmEngine, new_lines
from tests.support.served_checkpoint import CONFIG, ITEMS, put_served_checkpoint
from tests.support.served_endpoint import serving
from tests.support.vllm_grammar_server import GrammarServer, serve_grammar

LINES = [f"{title} ({year})" for _, title, year in ITEMS]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    store = Store(tmp_path_factory.mktemp("vllm") / "home")
    return store, put_served_checkpoint(store)


@pytest.fixture
def server() -> Iterator[GrammarServer]:
    with serve_grammar(GrammarServer(LINES)) as server:
        yield server


def test_lists_have_no_repeats_and_nothing_named(
    stored: tuple[Store, str], server: GrammarServer
) -> None:
    engine = VllmEngine(*stored, server.url)
    reported = []
    request = ListRequest("I loved Alien and Heat (1995)", 4, reported.append)
    (answer,) = engine.answer([request])
    assert not isinstance(answer, Exception)
    wanted = ["Aliens (1986)", "Heat (1972)", "Blade Runner (1982)", "The Thing (1982)"]
    assert [item.line for item in answer.items] == wanted
    assert reported == answer.items
    assert [item.item_id for item in answer.items] == ["f2", "f4", "f5", "f6"]
    assert answer.seen == ["Alien (1979)", "Heat (1995)"]
    assert answer.completion_tokens == 5 * len(server.requests) == 25


def test_requests_have_the_prompt_and_the_grammar(
    stored: tuple[Store, str], server: GrammarServer
) -> None:
    store, name = stored
    VllmEngine(store, name, server.url).answer([ListRequest("I loved Alien", 2)])
    tokenizer = load_tokenizer(store.folder(name))
    prompt = encode_student_prompt(tokenizer, served_prompt("I loved Alien", CONFIG), CONFIG)
    first, second, third = server.requests
    assert first["prompt"] == second["prompt"] == prompt
    assert third["prompt"] == prompt + tokenizer("Aliens (1986)\n").input_ids
    assert (first["model"], first["temperature"]) == ("exported", 0)
    assert first["structured_outputs"] == {"grammar": list_grammar(LINES, 2)}
    assert second["structured_outputs"] == {"grammar": list_grammar(LINES[1:], 2)}
    assert third["structured_outputs"] == {"grammar": list_grammar(LINES[2:], 1)}
    assert first["max_tokens"] >= len(tokenizer("\n".join(LINES[:2])).input_ids)


def test_a_grammar_quotes_titles() -> None:
    grammar = list_grammar(['Say "hi"', "back\\slash", "Amélie"], 2)
    assert grammar == (
        'root ::= line "\\n" line\nline ::= "Amélie" | "Say \\"hi\\"" | "back\\\\slash"\n'
    )
    shared = list_grammar(["Alien", "Aliens", "Up"], 1)
    assert shared == 'root ::= line\nline ::= "Alien" ("" | "s") | "Up"\n'
    assert list(new_lines(["a", "b", "a", "c"], ["a", "b", "c"])) == ["a", "b"]
    assert list(new_lines(["x", "a"], ["a"])) == []


def test_the_endpoint_serves_them(stored: tuple[Store, str], server: GrammarServer) -> None:
    engine = VllmEngine(*stored, server.url)
    with serving(Endpoint(engine, Limits(), threads=4)) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)

        def ask(text: str) -> str | None:
            answer = client.chat.completions.create(
                model=engine.model, messages=[{"role": "user", "content": text}]
            )
            return answer.choices[0].message.content

        assert ask("hello") == "\n".join(LINES[:4])
        server.ignores_grammar = True
        with pytest.raises(openai.InternalServerError, match="did not keep to the grammar"):
            ask("hello")
        with pytest.raises(openai.BadRequestError, match="ask for fewer"):
            ask(" and ".join(LINES))


def test_a_server_that_is_not_there_is_named(stored: tuple[Store, str]) -> None:
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9/v1 does not name a model.*vllm serve"):
        VllmEngine(*stored, "http://127.0.0.1:9/v1")
