from __future__ import annotations

import re
from pathlib import Path

import pytest

from convrec import config
from convrec.errors import ConfigError


@pytest.mark.parametrize("name", sorted(config.profiles()))
def test_every_shipped_profile_loads(name: str) -> None:
    loaded = config.load(name)
    assert loaded.profile == name
    assert loaded.description


def test_shipped_profiles() -> None:
    assert set(config.profiles()) >= {"demo", "reddit-v2", "inspired-replay", "redial"}


def test_dotted_and_nested_overrides_are_equal() -> None:
    dotted = config.load("demo", {"rank_grpo.steps": 3, "seed": 9})
    nested = config.load("demo", {"rank_grpo": {"steps": 3}, "seed": 9})
    assert dotted == nested
    assert (dotted.rank_grpo.steps, dotted.seed) == (3, 9)
    assert dotted.sft == config.load("demo").sft


def test_assignments_are_json_or_text() -> None:
    parsed = config.parse_overrides(["seed=3", "llm.max_usd=0.5", "ingest.path=data/x", "a.b=true"])
    assert parsed == {"seed": 3, "llm.max_usd": 0.5, "ingest.path": "data/x", "a.b": True}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"rank_grpo.stepz": 3}, "did you mean rank_grpo.steps"),
        ({"nothing": 1}, "unknown key nothing"),
        (
            {"foo.bar": 1},
            "allowed keys: profile, description, seed, domain.*, list_length, ingest.*",
        ),
        ({"llm.prices.m": {"input": 1, "output": 1, "@" * 40: 1}}, "allowed keys: profile, "),
        ({"rank_grpo.reward": "exp:0.5"}, "exp:2.0"),
        ({"rank_grpo.steps": -1}, "greater than 0"),
        ({"ingest.format": "netflix"}, "'inspired', 'redial' or 'table'"),
        ({"seed.x": 1}, "seed is a value"),
        ({"recommend.source": "replay"}, "needs recommend.replay"),
        ({"remap.keep": 5}, "remap.keep=5"),
        ({"llm.base_url": "127.0.0.1:8000/v1"}, "use an address such as http://"),
        ({"model.hidden": 7}, "multiple of 2 to be split over heads; try 6"),
        ({"model.hidden": 200}, "multiple of 6 to be split over heads; try 198"),
        ({"model.base": ""}, "at least 1 character"),
        ({"llm.base_url": "ftp://x"}, "use an address such as http://"),
        ({"llm.base_url": "http://"}, "use an address such as http://"),
        ({"llm.base_url": "http://h ost/v1"}, "use an address such as http://"),
        ({"llm.base_url": "http://127.0.0.1:99999/v1"}, "use an address such as http://"),
        ({"llm.base_url": "http://1.2.3.999/v1"}, "use an address such as http://"),
        ({"llm.base_url": "http://a..b/v1"}, "use an address such as http://"),
        ({"llm.base_url": "http://host/\0"}, "use an address such as http://"),
        ({"llm.base_url": "http://☃/v1"}, "use an address such as http://"),
    ],
)
def test_an_invalid_override_is_one_sentence(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        config.load("demo", overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("section", ["sft", "rank_grpo"])
def test_a_contradiction_in_a_section_does_not_print_the_section(section: str) -> None:
    with pytest.raises(ConfigError) as error:
        config.load("demo", {f"{section}.schedule": "drop"})
    assert str(error.value).startswith(f"{section} is invalid in profile demo: schedule=drop")


def test_data_of_profiles_are_below_the_working_directory() -> None:
    for path in config.profiles().values():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'"(\.\.|/|~)', text), path.name
    redial = config.load("redial-smollm2")
    assert redial.ingest.path == "data/redial_full"
    assert (redial.ingest.catalog_from, redial.recommend.years) == ("ground_truth", "namesakes")


def test_an_unknown_profile_lists_shipped_profiles() -> None:
    with pytest.raises(ConfigError, match="inspired-replay"):
        config.load("dmeo")


def test_a_profile_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('seed = 5\n[model]\nbase = "tiny"\n')
    assert config.load(str(path)).seed == 5
    path.write_text("seed = = 5")
    with pytest.raises(ConfigError, match="not valid TOML"):
        config.load(str(path))


def test_an_assignment_needs_a_value() -> None:
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        config.parse_overrides(["seed"])
