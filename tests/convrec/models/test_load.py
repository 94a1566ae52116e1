from __future__ import annotations

from pathlib import Path

import pytest
import torch
from huggingface_hub import get_session
from peft import LoraConfig, get_peft_model

from convrec.config import Config
from convrec.errors import ConfigError, InputError
from convrec.models.load import Student, load_checkpoint, load_student, save_student
from convrec.models.tiny import make_tiny
from tests.support.micro import ROWS


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
    with pytest.raises(ConfigError, match="check the name and the network"):
        load_student("nobody-here/no-such-model", config=micro.model)


def test_a_refused_connection_to_the_hub_is_reported(
    micro: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of the library's own HTTP client: nothing listens on port 1."""

    def connect_to_port_1(*_: object, **__: object) -> None:
        get_session().get("http://127.0.0.1:1")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", connect_to_port_1)
    with pytest.raises(ConfigError, match="check the name and the network"):
        load_student("nobody-here/no-such-model", config=micro.model)


def _offline(*_: object, **__: object) -> None:
    raise ConnectionError("no network")
