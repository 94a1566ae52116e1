"""Ways to break a model's folder, and what the checks of a base model say of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convrec.config import Config
from convrec.errors import InputError
from convrec.models.checks import check_base_model
from tests.support.model_folders import change_json, save_model

Change = Callable[[Path], object]

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n"


def settings(folder: Path, **sections: Any) -> Config:
    model = {"prompt": "plain", "max_prompt_tokens": 96, "max_completion_tokens": 64}
    return Config.model_validate({**sections, "model": {**model, "base": str(folder)}})


def error_of(folder: Path, **sections: Any) -> str:
    with pytest.raises(InputError) as caught:
        check_base_model(settings(folder, **sections))
    message = str(caught.value)
    assert "\n" not in message
    return message


def change_config(**values: Any) -> Change:
    return lambda folder: change_json(folder / "config.json", **values)


def write_file(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)


def of_family(family: str, **values: Any) -> Change:
    def change(folder: Path) -> None:
        shutil.rmtree(folder)
        save_model(folder, family, **values)

    return change
