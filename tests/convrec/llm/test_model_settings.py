"""`llm.models`: what a model accepts is a setting, with defaults by its name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convrec.config import Config, load, parse_overrides
from convrec.errors import ConfigError
from convrec.llm.model_settings import chat_limits, is_reasoning
from convrec.llm.requests import Request
from convrec.stages.reflect.prompt import judge_body, parse_judge_body, repair_body
from convrec.stages.remap.embedding import vector_space

PLAIN = {"temperature": 0.5, "max_tokens": 5000}
REASONING = {"max_completion_tokens": 5000}


def with_settings(settings: dict[str, Any], model: str = "my.model", **more: Any) -> Config:
    return Config.model_validate({"llm": {"models": {model: settings}}, **more})


@pytest.mark.parametrize(
    ("model", "settings", "limits"),
    [
        ("my.model", {}, PLAIN),
        ("gpt-4o-mini", {"reasons": False}, PLAIN),
        ("my.model", {"reasons": True}, REASONING),
        ("o3-mini", {}, REASONING),
        ("gpt-5", {"reasons": False}, PLAIN),
        ("gpt-5", {"temperature": 1}, {"temperature": 1.0, **REASONING}),
        ("o3", {"token_parameter": "max_tokens"}, {"max_tokens": 5000}),
        ("m", {"token_parameter": "max_completion_tokens"}, {"temperature": 0.5, **REASONING}),
        ("m", {"token_parameter": "none"}, {"temperature": 0.5}),
        ("m", {"temperature": "none"}, {"max_tokens": 5000}),
        ("m", {"temperature": 0}, {"temperature": 0.0, "max_tokens": 5000}),
        ("m", {"temperature": "none", "token_parameter": "none"}, {}),
        ("m", {"extra": {"top_k": 1}}, PLAIN),
    ],
)
def test_limits_follow_the_settings(
    model: str, settings: dict[str, Any], limits: dict[str, Any]
) -> None:
    config = with_settings(settings, model)
    assert chat_limits(config, model, "recommend.max_tokens", 5000, 0.5) == limits


def test_the_beginning_of_a_name_tells_whether_a_model_reasons() -> None:
    reasoning = ["o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5-mini"]
    others = ["gpt-4o", "my-o3", "llama3.2", "openai/o3-mini"]
    assert [name for name in (*reasoning, *others) if is_reasoning(Config(), name)] == reasoning
    assert not is_reasoning(with_settings({"reasons": False}, "o3"), "o3")
    assert is_reasoning(with_settings({"reasons": True}, "my-o3"), "my-o3")


def test_the_settings_of_another_model_do_not_count() -> None:
    config = with_settings({"reasons": True}, "my.model")
    assert chat_limits(config, "my.model.v2", "recommend.max_tokens", 5000, 0.5) == PLAIN


def test_a_model_that_is_said_to_reason_needs_more_tokens() -> None:
    config = with_settings({"reasons": True})
    with pytest.raises(ConfigError, match=r"reflect.max_tokens=600 .* 4000 or more"):
        chat_limits(config, "my.model", "reflect.max_tokens", 600, 0.0)


def judge(settings: dict[str, Any], response_format: str = "json_schema") -> dict[str, Any]:
    config = with_settings(
        settings, reflect={"model": "my.model", "response_format": response_format}
    )
    return judge_body("a post", ["Heat (1995)", "Alien (1979)"], config)


def test_without_settings_a_request_keeps_its_key() -> None:
    bodies = [judge({}), judge({"reasons": None, "extra": {}}), judge({"reasons": False})]
    assert len({Request("", "e", body).key for body in bodies}) == 1


def test_the_response_format_of_a_model_replaces_that_of_reflect() -> None:
    for response_format in ("json_schema", "json_object", "text"):
        changed = judge({"response_format": response_format}, "text")
        assert changed == judge({}, response_format)
    assert "response_format" not in judge({"response_format": "text"})


def test_extra_fields_are_sent_as_they_are() -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 1}
    body = judge({"extra": extra})
    assert body == {**judge({}), **extra}
    parsed = parse_judge_body(body)
    assert parsed is not None
    assert parsed[1]["top_k"] == 1
    assert repair_body(body, "1", "no")["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"extra": {"messages": []}}, "convrec sets messages itself"),
        ({"extra": {"stream": True, "n": 2}}, "convrec sets n, stream itself"),
        ({"extra": {"top_p": float("nan")}}, "finite"),
        ({"temperature": False}, "use a number from 0 to 2, or none"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "low"}, "temperature"),
        ({"token_parameter": "tokens"}, "token_parameter"),
        ({"response_format": "yaml"}, "response_format"),
        ({"thinks": True}, "thinks"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load("reddit-v2", {"llm.models": {"my.model": settings}})
    assert "llm.models.my.model" in str(caught.value)


def test_the_settings_are_given_as_json() -> None:
    override = 'llm.models={"openai/o3-mini": {"reasons": true}}'
    config = load("reddit-v2", parse_overrides([override]))
    assert is_reasoning(config, "openai/o3-mini")
    assert json.loads(config.model_dump_json())["llm"]["models"]["openai/o3-mini"]["reasons"]


def test_vectors_of_other_dimensions_have_another_name() -> None:
    def space(extra: dict[str, Any]) -> str:
        remap = {"similarity": "openai", "model": "my.model"}
        return vector_space(with_settings({"extra": extra}, remap=remap))

    assert space({}) == space({"encoding_format": "float"})
    assert space({"dimensions": 64}) == space({}) + ' {"dimensions":64}'
