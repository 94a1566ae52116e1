"""Tokenizers and chat templates that lose something are refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from convrec.config import Config
from convrec.errors import ConfigError
from convrec.models.checks import check_base_model
from tests.support.broken_models import (
    LFS,
    Change,
    error_of,
    settings,
    write_file,
)
from tests.support.model_folders import (
    change_json,
    save_model,
    set_template,
)


def _template(template: str | None) -> Change:
    return lambda folder: set_template(folder, template)


def _no_eos(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", eos_token=None)
    change_json(folder / "config.json", eos_token_id=None)
    change_json(folder / "generation_config.json", eos_token_id=None)


def _small_vocabulary(folder: Path) -> None:
    shutil.rmtree(folder)
    save_model(folder, vocab_size=240)


def _new_pad(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", pad_token="[PAD]")


def _without_line_breaks(folder: Path) -> None:
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    data["normalizer"] = {"type": "Replace", "pattern": {"String": "\n"}, "content": " "}
    path.write_text(json.dumps(data))


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def _no_words(folder: Path) -> None:
    """A tokenizer that raises what only the tokenizers library knows."""
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    data["model"] = model | {"max_input_chars_per_word": 9, "vocab": data["model"]["vocab"]}
    path.write_text(json.dumps(data))


def _two_starts(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", bos_token="<|system|>")
    set_template(folder, "{{ bos_token + bos_token + messages[0]['content'] }}<|assistant|>")


PARTS = (
    "{% for m in messages %}<|user|>{% for part in m['content'] %}{% if part['type'] == 'text' %}"
    "{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}<|assistant|>"
)

TOKENIZER_DEFECTS: dict[str, tuple[Change, str]] = {
    "no end": (_no_eos, "no end-of-sequence token, .* set eos_token"),
    "small vocabulary": (_small_vocabulary, "embeddings for ids below 240, but .* tokens has id"),
    "pad outside": (_new_pad, r"embeddings .* but the tokenizer's pad_token has id"),
    "no line breaks": (_without_line_breaks, "one title a line"),
    "no tokenizer": (_no_tokenizer, "holds no tokenizer; copy tokenizer.json"),
    "broken tokenizer": (write_file("tokenizer.json", b"{}"), "the tokenizer in .* cannot be read"),
    "no word for the unknown": (_no_words, r"tokenizer in .* cannot be read \(WordPiece error"),
    "pointer to a template": (write_file("chat_template.jinja", LFS), "jinja is a Git LFS pointer"),
    "short messages": (_template("{{ messages[0]['content'][:200] }}"), "loses the text"),
    "escaped": (_template("{{ messages[0]['content'] | e }}"), "loses the text"),
    "clock by another name": (
        _template("{% set now = strftime_now %}{{ now('%d') }}{{ messages[0]['content'] }}"),
        "reads the clock",
    ),
    "broken settings": (write_file("tokenizer_config.json", b"["), "not valid JSON"),
    "pointer": (write_file("tokenizer.json", LFS), "tokenizer.json is a Git LFS pointer"),
    "no generation prompt": (
        _template("<|user|>{{ messages[0]['content'] }}"),
        "ends with the user's text: it has no generation prompt",
    ),
    "parts": (_template(PARTS), "chat template of .* loses the text"),
    "nothing": (_template("<|user|><|assistant|>"), "loses the text"),
    "lower case": (
        _template("{% for m in messages %}{{ m['content'] | lower }}{% endfor %}"),
        "loses the text",
    ),
    "system needed": (
        _template(
            "{% if messages[0]['role'] != 'system' %}{{ raise_exception('no system') }}{% endif %}"
        ),
        r"chat template cannot render one message of the user \(no system\)",
    ),
    "more turns needed": (_template("{{ messages[1]['content'] }}"), "cannot render one message"),
    "syntax": (_template("{% for %}"), "cannot render one message"),
    "clock": (
        _template(
            "{% set form = '%Y' %}{{ strftime_now(form) }}{% for m in messages %}"
            "{{ m['content'] }}{% endfor %}"
        ),
        "reads the clock",
    ),
    "two starts": (_two_starts, "writes <|system|> twice"),
    "long template": (
        _template("word " * 200 + "{{ messages[0]['content'] }}<|assistant|>"),
        "leaves no room for the conversation",
    ),
}


@pytest.mark.parametrize("defect", TOKENIZER_DEFECTS)
def test_tokenizers_that_lose_something_are_refused(folder: Path, defect: str) -> None:
    change, pattern = TOKENIZER_DEFECTS[defect]
    change(folder)
    message = error_of(folder)
    assert re.search(pattern, message), message


def test_an_end_that_only_the_model_names_is_used(folder: Path) -> None:
    _no_eos(folder)
    change_json(folder / "generation_config.json", eos_token_id=[1, 0])
    assert check_base_model(settings(folder))


def test_special_tokens_beyond_the_embedding_pass_if_no_text_has_them(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", extra_special_tokens=["<image>"])
    assert check_base_model(settings(folder))


def test_an_instruction_that_fills_the_prompt_is_refused(folder: Path) -> None:
    filled = Config.model_validate(
        {"model": {"base": str(folder), "max_prompt_tokens": 96, "max_completion_tokens": 64}}
    )
    pattern = r"max_prompt_tokens=96 leaves no room .* template and the instruction take \d{3}"
    with pytest.raises(ConfigError, match=pattern):
        check_base_model(filled)
