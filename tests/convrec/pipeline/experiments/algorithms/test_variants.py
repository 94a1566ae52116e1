from __future__ import annotations

from typing import Any

import pytest

from convrec.config import load
from convrec.errors import ConfigError
from convrec.pipeline.experiments.algorithms.variants import adapt_rank_grpo, parse_variant


def settings(name: str, **overrides: Any) -> dict[str, Any]:
    """The settings of a variant that differ from those of the demo, here with shaping terms."""
    given = {"early": -1.0, "fault": 1.5, **overrides}
    config = load("demo", {f"rank_grpo.{key}": value for key, value in given.items()})
    before = config.rank_grpo.model_dump()
    after = adapt_rank_grpo(config, name, config.rank_grpo.learning_rate).model_dump()
    return {key: value for key, value in after.items() if value != before[key]}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("rank_grpo", {}),
        ("rank_grpo:log", {"reward": "log"}),
        ("rank_grpo:exp:2.0", {"reward": "exp:2.0"}),
        ("rank_grpo:early=-.5,exact=0", {"early": -0.5, "exact": 0.0}),
        ("rank_grpo:epsilon=.2", {"epsilon_low": 0.2, "epsilon_high": 0.2}),
        ("rank_grpo:overflow=-1,log", {"overflow": -1.0, "reward": "log"}),
        ("rank_grpo:published", {"early": -0.1, "fault": 0.0}),
        ("rank_grpo:g4", {"group_size": 4, "prompts_per_step": 16}),
        ("rank_grpo:group_size=16", {"group_size": 16, "prompts_per_step": 4}),
        ("rank_grpo:no_sft", {}),
        ("grpo", {"algorithm": "grpo", "reward_shaping": True}),
        ("grpo:plain", {"algorithm": "grpo"}),
        ("dapo:fault=0", {"algorithm": "dapo", "reward_shaping": True, "fault": 0.0}),
    ],
)
def test_a_variant_changes_only_what_it_names(name: str, changes: dict[str, Any]) -> None:
    assert settings(name) == changes


def test_a_group_has_as_many_lists_in_a_step_as_before() -> None:
    found = settings("rank_grpo:g6", prompts_per_step=12, group_size=8)
    assert found == {"group_size": 6, "prompts_per_step": 16}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rank_grpo:g7", "a step has 64 lists, which groups of 7 cannot share"),
        ("rank_grpo:early=often", "rank_grpo:early=often: early='often': Input should be"),
        ("rank_grpo:steps=9", "unknown variant 'rank_grpo:steps=9': .* early, exact"),
        ("rank_grpo:plain", "unknown variant"),
        ("rank_grpo:", "unknown variant"),
        ("grpo:reward=log", "unknown variant 'grpo:reward=log'"),
        ("sft:steps=0", "write sft:continued or sft:steps=N"),
    ],
)
def test_a_variant_that_is_not_allowed_says_what_is(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(name)


def test_starts_and_steps_are_no_settings() -> None:
    assert parse_variant("rank_grpo:no_sft,g4").from_base
    assert not parse_variant("rank_grpo:g4").from_base
    assert parse_variant("sft:steps=120").steps == 120
    assert parse_variant("sft:continued").steps == 0
