"""Tokenizers of well-known families pass the check; broken ones are refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, normalizers

from convrec.config import Config
from convrec.errors import InputError
from convrec.models.checks.tokenizer import check_tokenizer
from tests.support.chat_tokenizers import CHATML_TEMPLATE, FAMILIES, family_tokenizer


def check(tokenizer: Any, prompt: str = "plain") -> str:
    weight = SimpleNamespace(shape=(len(tokenizer), 8))
    model = SimpleNamespace(get_input_embeddings=lambda: SimpleNamespace(weight=weight))
    config = Config.model_validate({"model": {"prompt": prompt, "max_prompt_tokens": 600}})
    return check_tokenizer(Path("student"), tokenizer, model, config)


def refusal(tokenizer: Any) -> str:
    with pytest.raises(InputError) as caught:
        check(tokenizer)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("prompt", ["plain", "instruct", "given"])
@pytest.mark.parametrize("name", FAMILIES)
def test_families_pass(name: str, prompt: str) -> None:
    assert check(family_tokenizer(name), prompt).startswith("prompts have its chat template")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_template_that_drops_the_conversation_is_refused(name: str) -> None:
    tokenizer = family_tokenizer(name)
    tokenizer.chat_template = "{{ bos_token }}Recommend a film.\n<|im_start|>assistant\n"
    assert "loses the text of a message" in refusal(tokenizer)


@pytest.mark.parametrize("name", ["llama", "gemma"])
def test_a_second_bos_is_refused(name: str) -> None:
    tokenizer = family_tokenizer(name)
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    assert f"writes {tokenizer.bos_token} twice" in refusal(tokenizer)


def test_a_template_without_place_for_the_answer_is_refused() -> None:
    tokenizer = family_tokenizer("llama")
    tokenizer.chat_template = "{{ bos_token }}{{ messages[0]['content'] }}"
    assert "ends with the user's text: it has no generation prompt" in refusal(tokenizer)


def test_a_template_with_an_answer_but_no_generation_prompt_passes() -> None:
    tokenizer = family_tokenizer("qwen")
    tokenizer.chat_template = CHATML_TEMPLATE.partition("{% if add_generation_prompt")[0]
    assert check(tokenizer)


def test_control_tokens_that_stay_control_tokens_are_refused() -> None:
    tokenizer = family_tokenizer("qwen")
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace(
        Regex(r"(?<![A-Za-z)]) | (?![A-Z(])"), ""
    )
    tokenizer.add_tokens([AddedToken("<|end_turn|>", special=True, normalized=True)])
    tokenizer.chat_template = "[{{ messages[0]['content'] }}]"
    assert "control token of the model that cannot be made text" in refusal(tokenizer)
