from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convrec.config import Config
from convrec.models.identity import adapter_targets, base_digest
from convrec.models.prompts import leading_tokens
from convrec.models.tokenizer_files import starts_with_special_token
from tests.support.model_folders import change_json, save_model, set_template


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without a chat template."""
    folder = save_model(tmp_path_factory.mktemp("identity"))
    set_template(folder, None)
    return folder


SPECIAL = {"SpecialToken": {"id": "<|system|>", "type_id": 0}}
TEXT = {"Sequence": {"id": "A", "type_id": 0}}


def template(*parts: dict[str, Any]) -> dict[str, Any]:
    known = {"<|system|>": {"id": "<|system|>", "ids": [4], "tokens": ["<|system|>"]}}
    pair = [*parts, {"Sequence": {"id": "B", "type_id": 1}}]
    return {
        "type": "TemplateProcessing",
        "single": [*parts],
        "pair": pair,
        "special_tokens": known,
    }


BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
FRONT = template(SPECIAL, TEXT)
PROCESSORS: dict[str, tuple[Any, bool]] = {
    "none": (None, False),
    "front": (FRONT, True),
    "end": (template(TEXT, SPECIAL), False),
    "bytes": (BYTES, False),
    "sequence": ({"type": "Sequence", "processors": [BYTES, FRONT]}, True),
    "roberta": (
        {
            "type": "RobertaProcessing",
            "sep": ["<|end|>", 1],
            "cls": ["<|system|>", 4],
            "trim_offsets": True,
            "add_prefix_space": False,
        },
        True,
    ),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_the_files_say_what_the_tokenizer_does(folder: Path, name: str) -> None:
    from convrec.models.load import load_tokenizer

    processor, is_first = PROCESSORS[name]
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"post_processor": processor}))
    assert starts_with_special_token(folder) == is_first
    assert bool(leading_tokens(load_tokenizer(folder))) == is_first


def test_only_prompts_with_a_new_first_token_get_another_id(folder: Path) -> None:
    config = Config.model_validate({"model": {"base": str(folder)}})
    change_json(folder / "tokenizer.json", post_processor=FRONT)
    assert base_digest(config)["prompt"] == "special token first"
    set_template(folder, "{{ messages[0]['content'] }}")
    assert set(base_digest(config)) == {"base"}
    set_template(folder, None)
    change_json(folder / "tokenizer.json", post_processor=None)
    assert set(base_digest(config)) == {"base"}
    assert base_digest(Config()) == {"tokens": "lines"}


@pytest.mark.parametrize(
    ("family", "lora", "entry"),
    [
        ("llama", {"rank": 2}, {}),
        ("opt", {"rank": 2}, {"adapters": "all-linear"}),
        ("opt", {"rank": 0}, {}),
        ("opt", {"rank": 2, "target_modules": ["q_proj", "v_proj"]}, {}),
        ("phi3", {"rank": 2}, {"adapters": "all-linear"}),
    ],
)
def test_only_other_adapters_get_another_id(
    tmp_path: Path, family: str, lora: dict[str, Any], entry: dict[str, str]
) -> None:
    folder = save_model(tmp_path / "student", family)
    config = Config.model_validate({"model": {"base": str(folder)}, "sft": {"lora": lora}})
    assert adapter_targets(config, config.sft.lora) == entry
