from __future__ import annotations

import tomllib

import pytest

from convrec.config import Config, parse_overrides
from convrec.errors import ConfigError
from convrec.llm.model_settings import chat_limits
from convrec.llm.prices import PRICE_TABLE, Usage, cost, price_of


def test_the_shipped_table_is_dated_and_has_the_usual_models() -> None:
    assert tomllib.loads(PRICE_TABLE.read_text(encoding="utf-8"))["as_of"].startswith("20")
    for model in ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"):
        assert price_of(model, Config()).cached_input is not None
    assert price_of("gpt-3.5-turbo", Config()).output == 1.5


def test_a_snapshot_without_a_price_has_its_models_price() -> None:
    assert price_of("gpt-4o-mini-2024-07-18", Config()) == price_of("gpt-4o-mini", Config())
    assert price_of("gpt-4o-2024-05-13", Config()).input == 5


def test_the_error_for_an_unknown_price_suggests_an_override() -> None:
    with pytest.raises(ConfigError, match=r"my-model\.v2") as caught:
        price_of("my-model.v2", Config())
    override = str(caught.value).split("--set '")[1].rstrip("'")
    config = Config.model_validate({"llm": {"prices": parse_overrides([override])["llm.prices"]}})
    assert price_of("my-model.v2", config).input == 0


def test_an_override_takes_precedence_over_the_table() -> None:
    config = Config.model_validate({"llm": {"prices": {"gpt-4o": {"input": 1, "output": 2}}}})
    assert price_of("gpt-4o", config).output == 2


def test_cached_tokens_and_batches_are_cheaper() -> None:
    usage = Usage(prompt=1_000_000, cached=400_000, completion=100_000)
    price = price_of("gpt-4o", Config())
    assert cost(price, usage) == pytest.approx(0.6 * 2.5 + 0.4 * 1.25 + 0.1 * 10)
    assert cost(price, usage, batch=True) == pytest.approx(cost(price, usage) / 2)
    plain = price_of("gpt-4-turbo", Config())
    assert cost(plain, usage) == pytest.approx(10 + 3)


@pytest.mark.parametrize("model", ["gpt-5-mini", "o3", "o4-mini-2025-04-16"])
def test_reasoning_models_get_their_own_parameters(model: str) -> None:
    assert chat_limits(Config(), model, "recommend.max_tokens", 8000, 0.0) == {
        "max_completion_tokens": 8000
    }
    with pytest.raises(ConfigError, match=r"recommend.max_tokens=600 .* 4000 or more"):
        chat_limits(Config(), model, "recommend.max_tokens", 600, 0.0)


def test_other_models_have_a_temperature() -> None:
    limits = {"temperature": 0.5, "max_tokens": 600}
    for model in ("gpt-4o-mini", "gpt-3.5-turbo", "Qwen/Qwen2.5-7B-Instruct"):
        assert chat_limits(Config(), model, "reflect.max_tokens", 600, 0.5) == limits
