"""Any override loads, or gets one sentence; nothing secret comes back in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from convrec import config
from convrec.config import Config, resolve_path
from convrec.config.loading import _keys
from convrec.errors import ConvrecError, InputError

KEYS = [*_keys(Config), "sources.a.ingest.path", "sources.b", "ingest", "llm", "no", "a\nb", ""]
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


def survives(profile: str, overrides: dict[str, Any]) -> None:
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
def test_any_override_loads_or_gets_a_sentence(overrides: dict[str, Any]) -> None:
    survives("demo", overrides)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(), max_size=30))
@example("seed=" + "1" * 5000)
@example("seed=" + "[" * 10_000)
@example('llm.base_url="\\ud800"')
def test_any_assignment_loads_or_gets_a_sentence(assignment: str) -> None:
    try:
        overrides = config.parse_overrides([assignment])
    except ConvrecError:
        return
    survives("demo", overrides)


@pytest.mark.parametrize("name", ["~no-such-user/x", "a\0b", "x" * 5000, "loop/x"])
def test_a_path_that_no_file_can_have_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    with pytest.raises(InputError, match="give another"):
        resolve_path(name, "ingest.path")
    survives(f"{name}.toml", {})
    if "\0" not in name:
        monkeypatch.setenv("CONVREC_HOME", name)
        with pytest.raises(InputError, match="CONVREC_HOME"):
            config.home()


@pytest.mark.parametrize("name", ["file", "file/sub"])
def test_a_home_that_is_a_file_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path / name))
    with pytest.raises(InputError, match=r"CONVREC_HOME.*file is no folder"):
        config.home()


def test_an_address_with_a_password_is_refused_and_not_shown() -> None:
    with pytest.raises(ConvrecError, match="OPENAI_BASE_URL") as refused:
        config.load("demo", {"llm.base_url": "https://me:hunter2@llm.example/v1"})
    assert "hunter2" not in str(refused.value)


def test_the_value_of_an_unknown_key_is_not_shown() -> None:
    with pytest.raises(ConvrecError, match=r"unknown key llm\.api_key") as refused:
        config.load("demo", {"llm.api_key": "sk-hunter2"})
    assert "hunter2" not in str(refused.value)
