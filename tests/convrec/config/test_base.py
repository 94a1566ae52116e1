"""Which settings of a section enter an artifact id."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from pydantic import Field

from convrec.config import Config
from convrec.config.base import Section


class Inner(Section):
    later_keys: ClassVar = frozenset({"added"})

    rank: int = 4
    added: float = 0.5


class Outer(Section):
    later_keys: ClassVar = frozenset({"limit", "columns", "extra"})
    runtime_keys: ClassVar = frozenset({"folder"})

    size: int = 1
    name: str = "a"
    limit: int = 0
    columns: dict[str, str] = Field(default={})
    folder: str = ""
    inner: Inner = Inner()
    extra: Inner = Inner()


@pytest.mark.parametrize(
    ("values", "settings"),
    [
        ({}, {}),
        ({"limit": 0, "columns": {}, "inner": {"added": 0.5}}, {}),
        ({"size": 2, "limit": 3}, {"size": 2, "limit": 3}),
        ({"columns": {"title": "name"}}, {"columns": {"title": "name"}}),
        ({"inner": {"added": 1}}, {"inner": {"rank": 4, "added": 1.0}}),
        ({"extra": {"added": 0.5}, "folder": "here"}, {}),
        ({"extra": {"rank": 5}}, {"extra": {"rank": 5}}),
    ],
)
def test_later_keys_enter_an_id_unless_default(
    values: dict[str, Any], settings: dict[str, Any]
) -> None:
    always = {"size": 1, "name": "a", "inner": {"rank": 4}}
    assert Outer.model_validate(values).identity_settings() == {**always, **settings}


def test_keys_can_be_selected_or_excluded() -> None:
    outer = Outer(limit=3)
    assert outer.identity_settings("name", "limit") == {"name": "a", "limit": 3}
    assert outer.identity_settings(exclude={"inner", "name"}) == {"size": 1, "limit": 3}


def test_values_are_json() -> None:
    class Shapes(Section):
        modules: tuple[str, ...] = ("q", "k")

    assert Shapes().identity_settings() == {"modules": ["q", "k"]}


ALWAYS = {
    "remap": "similarity model similarity_weight conversation_weight keep",
    "reflect": "enabled source model response_format top passes debias scale weight "
    "max_characters max_tokens",
    "adjust": "pull bias_pull balance patience max_iterations enabled",
    "model": "base prompt max_prompt_tokens max_completion_tokens vocabulary hidden layers bf16",
    "sft": "epochs learning_rate batch_size warmup_ratio lora",
    "rank_grpo": "algorithm reward reduction steps prompts_per_step group_size iterations "
    "learning_rate sampler vllm temperature beta epsilon_low epsilon_high overflow exact "
    "early fault eval_every eval_samples patience lora",
}


@pytest.mark.parametrize("section", ALWAYS)
def test_a_new_key_is_a_later_key(section: str) -> None:
    """Stages hash these sections in full, so a key outside `later_keys` changes every id."""
    settings = getattr(Config(), section).identity_settings()
    assert set(settings) == set(ALWAYS[section].split())


def test_later_keys_exist() -> None:
    sections = [field.annotation for field in Config.model_fields.values()]
    later = [s for s in sections if isinstance(s, type) and issubclass(s, Section) and s.later_keys]
    assert later
    for section in later:
        assert section.later_keys <= section.model_fields.keys()
