from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import get_session
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file

from convrec.config import Config
from convrec.errors import ConfigError, InputError
from convrec.models.load import Student, load_checkpoint, load_student, save_student
from convrec.models.tiny import make_tiny
from tests.support.micro import ROWS
from tests.support.model_folders import change_json, rename_weights, save_model


@pytest.fixture
def saved(micro: Config, tmp_path: Path) -> Path:
    student = Student(*make_tiny([text for row in ROWS for text in row], micro.model, seed=1))
    save_student(student, tmp_path / "base")
    return tmp_path / "base"


def test_a_folder_loads_in_float32(saved: Path, micro: Config) -> None:
    model, tokenizer = load_student(str(saved), config=micro.model)
    assert model.dtype == torch.float32
    assert tokenizer.pad_token == "<|pad|>"


def test_an_adapter_folder_is_merged_into_its_base(saved: Path, tmp_path: Path) -> None:
    base = load_checkpoint(saved)
    tuned = get_peft_model(base.model, LoraConfig(r=2, target_modules=["q_proj"]))
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(weight)
    tuned.base_model.model.name_or_path = str(saved)
    tuned.peft_config["default"].base_model_name_or_path = str(saved)
    tuned.save_pretrained(tmp_path / "adapter")
    model, tokenizer = load_checkpoint(tmp_path / "adapter")
    text = torch.tensor([tokenizer("Heat (1995)")["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(model(text).logits, tuned(text).logits)
        assert not torch.allclose(model(text).logits, load_checkpoint(saved).model(text).logits)


def test_unusable_folders_are_refused(tmp_path: Path, micro: Config) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        load_student(str(tmp_path / "missing"), config=micro.model)
    with pytest.raises(InputError, match="base= is not a folder"):
        load_student("", config=micro.model)
    with pytest.raises(InputError, match="holds no model"):
        load_student(str(tmp_path), config=micro.model)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(InputError, match="safetensors"):
        load_student(str(tmp_path), config=micro.model)


def test_a_broken_file_is_refused(saved: Path) -> None:
    (saved / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="cannot be read"):
        load_checkpoint(saved)


def test_an_unreachable_hub_is_reported(micro: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", _offline)
    with pytest.raises(ConfigError, match="check the network and try again"):
        load_student("nobody-here/no-such-model", config=micro.model)


def test_a_refused_connection_to_the_hub_is_reported(
    micro: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of the library's own HTTP client: nothing listens on port 1."""

    def connect_to_port_1(*_: object, **__: object) -> None:
        get_session().get("http://127.0.0.1:1")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", connect_to_port_1)
    with pytest.raises(ConfigError, match="check the network and try again"):
        load_student("nobody-here/no-such-model", config=micro.model)


def _offline(*_: object, **__: object) -> None:
    raise ConnectionError("no network")


def test_a_model_with_random_weights_is_never_returned(saved: Path) -> None:
    rename_weights(saved, lambda name: f"_orig_mod.{name}")
    with pytest.raises(InputError, match=r"Qwen2ForCausalLM lacks .* `_orig_mod\.`"):
        load_checkpoint(saved)


@pytest.fixture
def adapter(saved: Path, tmp_path: Path) -> Path:
    """An adapter without a tokenizer, on `saved`."""
    config = LoraConfig(r=2, target_modules=["q_proj"], base_model_name_or_path=str(saved))
    tuned = get_peft_model(load_checkpoint(saved).model, config)
    tuned.save_pretrained(tmp_path / "adapter")
    change_json(tmp_path / "adapter" / "adapter_config.json", base_model_name_or_path=str(saved))
    return tmp_path / "adapter"


def test_an_adapter_without_a_tokenizer_has_that_of_its_base(adapter: Path) -> None:
    assert load_checkpoint(adapter).tokenizer.eos_token == "<|end|>"


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (None, "names no base model"),
        ("", "names no base model"),
        ("/no/such/folder", "is not a folder"),
        (3, "names no base model"),
    ],
)
def test_an_adapter_without_its_base_is_refused(adapter: Path, base: Any, message: str) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": base}))
    with pytest.raises(InputError, match=message):
        load_checkpoint(adapter)


def test_adapters_that_name_each_other_are_refused(adapter: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(adapter, other)
    change_json(other / "adapter_config.json", base_model_name_or_path=str(adapter))
    for base in (adapter, other):
        change_json(adapter / "adapter_config.json", base_model_name_or_path=str(base))
        with pytest.raises(InputError, match="names no base model"):
            load_checkpoint(adapter)


def test_an_adapter_that_does_not_fit_is_refused(adapter: Path, tmp_path: Path) -> None:
    path = adapter / "adapter_model.safetensors"
    weights = load_file(path)
    save_file(dict(sorted(weights.items())[1:]), path)
    with pytest.raises(InputError, match=r"the adapter in .* missing adapter keys"):
        load_checkpoint(adapter)
    save_file(weights, path)
    other = save_model(tmp_path / "other", "gpt2")
    change_json(adapter / "adapter_config.json", base_model_name_or_path=str(other))
    with pytest.raises(InputError, match=r"the adapter in .*q_proj"):
        load_checkpoint(adapter)
    path.rename(adapter / "adapter_model.bin")
    with pytest.raises(InputError, match=r"adapter without adapter_model\.safetensors"):
        load_checkpoint(adapter)


def test_an_adapter_that_cannot_be_merged_is_refused(saved: Path, tmp_path: Path) -> None:
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    tuned = get_peft_model(load_checkpoint(saved).model, config)
    tuned.save_pretrained(tmp_path / "adapter")
    change_json(tmp_path / "adapter" / "adapter_config.json", base_model_name_or_path=str(saved))
    with pytest.raises(InputError, match="cannot be merged into its base"):
        load_checkpoint(tmp_path / "adapter")
