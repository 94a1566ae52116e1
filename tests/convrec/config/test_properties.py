"""Any override loads or raises an error of one sentence, which never shows a secret."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from convrec import config
from convrec.config import Config
from convrec.config.loading import dotted_keys
from convrec.errors import ConvrecError

KEYS = [
    *dotted_keys(Config),
    "sources.a.ingest.path",
    "sources.b",
    "ingest",
    "llm",
    "no",
    "a\nb",
    "",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["", "\ud800", "\0", "~nobody", "a\nb", "{", "{title}", "exp:nan"])
    | st.sampled_from(["http://[", "http://a:b@c", "1e999", "x" * 999])
    | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=6,
)


def loads_or_raises(profile: str, overrides: dict[str, Any]) -> None:
    try:
        loaded = config.load(profile, overrides)
    except ConvrecError as error:
        sentence = str(error)
    else:
        text = json.dumps(loaded.model_dump(mode="json"), allow_nan=False)
        assert Config.model_validate_json(text.encode()) == loaded
        return
    assert len(sentence.splitlines()) == 1
    assert len(sentence.encode()) < 2500


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3))
@example({"llm.base_url": "http://["})
@example({"sources": {"a\nb": {"ingest": {"limit": -1}}}})
@example({"sources": {"a": {"ingest": {1: 2}}}})
@example({"seed": -1})
@example({"rank_grpo.overflow": float("nan")})
@example({"domain": {"noun": {}}})
def test_any_override_loads_or_is_one_sentence(overrides: dict[str, Any]) -> None:
    loads_or_raises("demo", overrides)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(), max_size=30))
@example("seed=" + "1" * 5000)
@example("seed=" + "[" * 10_000)
@example('llm.base_url="\\ud800"')
def test_any_assignment_loads_or_is_one_sentence(assignment: str) -> None:
    try:
        overrides = config.parse_overrides([assignment])
    except ConvrecError:
        return
    loads_or_raises("demo", overrides)


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(ConvrecError, match="OPENAI_BASE_URL") as refused:
        config.load("demo", {"llm.base_url": "https://me:hunter2@llm.example/v1"})
    assert "hunter2" not in str(refused.value)


def test_the_value_of_an_unknown_key_is_not_shown() -> None:
    with pytest.raises(ConvrecError, match=r"unknown key llm\.api_key") as refused:
        config.load("demo", {"llm.api_key": "sk-hunter2"})
    assert "hunter2" not in str(refused.value)
