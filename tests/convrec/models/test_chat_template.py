"""Chat templates: one day for all prompts, no system role, and where the answer begins."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from transformers.utils import chat_template_utils

from convrec.models import chat_template
from convrec.models.chat_template import has_answer_start
from convrec.models.load import load_tokenizer
from convrec.models.prompts import encode_prompt, render_prompt
from convrec.models.tokenizer_files import checkpoint_date
from tests.support.chat_tokenizers import (
    CHATML_TEMPLATE,
    FAMILIES,
    LLAMA_TEMPLATE,
    MISTRAL_TEMPLATE,
    family_tokenizer,
)

USER = [{"role": "user", "content": "hi"}]


@pytest.fixture
def today(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the day that transformers tells a template."""

    def set_day(year: int, month: int, day: int) -> None:
        class Clock:
            @staticmethod
            def now() -> datetime:
                return datetime(year, month, day)

        monkeypatch.setattr(chat_template_utils, "datetime", Clock)

    return set_day


def save(folder: Path, template: str = LLAMA_TEMPLATE) -> Path:
    tokenizer = family_tokenizer("llama")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


def test_prompts_are_the_same_on_two_days(today: Any) -> None:
    tokenizer = family_tokenizer("llama")
    seen = []
    for day in ((2026, 11, 29), (2027, 1, 2)):
        today(*day)
        raw = tokenizer.apply_chat_template(USER, tokenize=False)
        seen.append((raw, render_prompt(tokenizer, "hi", 512), encode_prompt(tokenizer, "hi", 512)))
    assert seen[0][0] != seen[1][0]
    assert seen[0][1:] == seen[1][1:]
    assert "Today Date: 26 Jul 2024" in seen[0][1]


@pytest.mark.parametrize(
    "template",
    [
        LLAMA_TEMPLATE,
        "Today is {{ strftime_now('%d %b %Y') }}: {{ messages[0]['content'] }}\n\n",
        "{{ date_string | default('no day') }}: {{ messages[0]['content'] }}\n\n",
    ],
)
def test_a_checkpoint_keeps_its_day(
    template: str, tmp_path: Path, today: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = save(tmp_path / "base", template)
    assert checkpoint_date(base) == ""
    monkeypatch.setattr(chat_template, "TEMPLATE_DATE", date(2020, 2, 3))
    trained = load_tokenizer(base)
    prompt = render_prompt(trained, "hi", 512)
    assert "03 Feb 2020" in prompt
    trained.save_pretrained(tmp_path / "checkpoint")
    monkeypatch.undo()
    today(2026, 11, 29)
    served = load_tokenizer(tmp_path / "checkpoint")
    assert render_prompt(served, "hi", 512) == prompt
    assert served.apply_chat_template(USER, tokenize=False, add_generation_prompt=True) == prompt
    assert checkpoint_date(tmp_path / "checkpoint") == "03 Feb 2020"
    served.save_pretrained(tmp_path / "further")
    assert checkpoint_date(tmp_path / "further") == "03 Feb 2020"
    assert "26 Jul 2024" in render_prompt(load_tokenizer(base), "hi", 512)


def test_a_template_without_a_day_is_saved_as_it_is(tmp_path: Path) -> None:
    folder = save(tmp_path, CHATML_TEMPLATE)
    assert load_tokenizer(folder).chat_template == CHATML_TEMPLATE
    assert checkpoint_date(folder) == ""


def test_a_day_in_the_settings_of_older_tokenizers_is_read(tmp_path: Path) -> None:
    settings = {"chat_template": '{% set date_string = "03 Feb 2020" %}x'}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert checkpoint_date(tmp_path) == "03 Feb 2020"


@pytest.mark.parametrize("name", FAMILIES)
def test_prompts_begin_with_one_bos_and_end_where_the_answer_begins(name: str) -> None:
    tokenizer = family_tokenizer(name)
    expected = tokenizer.apply_chat_template(
        USER, tokenize=False, add_generation_prompt=True, date_string="26 Jul 2024"
    )
    assert render_prompt(tokenizer, "hi", 512) == expected
    ids = encode_prompt(tokenizer, "hi", 512)
    assert tokenizer.decode(ids).startswith(expected[:10])
    if FAMILIES[name].adds_bos:
        assert tokenizer("hi")["input_ids"][0] == tokenizer.bos_token_id
        assert ids.count(tokenizer.bos_token_id) == 1
    assert has_answer_start(tokenizer)


def test_a_template_without_generation_prompt_gets_the_answers_start() -> None:
    tokenizer = family_tokenizer("qwen")
    whole = render_prompt(tokenizer, "hi", 512)
    tokenizer.chat_template = CHATML_TEMPLATE.partition("{% if add_generation_prompt")[0]
    assert not tokenizer.apply_chat_template(
        USER, tokenize=False, add_generation_prompt=True
    ).endswith("assistant\n")
    assert render_prompt(tokenizer, "hi", 512) == whole
    assert whole.endswith("<|im_start|>assistant\n")


def test_a_template_that_needs_no_generation_prompt_is_left_alone() -> None:
    tokenizer = family_tokenizer("llama")
    tokenizer.chat_template = MISTRAL_TEMPLATE
    assert render_prompt(tokenizer, "hi", 512).endswith("[INST] hi [/INST]")
    assert has_answer_start(tokenizer)


def test_a_template_of_the_text_alone_has_no_answer_start() -> None:
    tokenizer = family_tokenizer("llama")
    tokenizer.chat_template = "{{ bos_token }}{{ messages[0]['content'] }}"
    assert not has_answer_start(tokenizer)
