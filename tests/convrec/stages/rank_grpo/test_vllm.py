"""The arguments that TRL gets for vLLM, and the errors without it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from convrec.config import Config
from convrec.errors import TrainingError
from convrec.stages.rank_grpo import arguments
from convrec.stages.rank_grpo.arguments import trainer_arguments


def config(**vllm: str) -> Config:
    return Config.model_validate({"rank_grpo": {"sampler": "free", **vllm}})


def test_a_missing_vllm_is_an_error(tmp_path: Path) -> None:
    if arguments.find_spec("vllm") is not None:
        pytest.skip("vLLM is installed")
    with pytest.raises(TrainingError, match=r"rank_grpo.vllm=colocate needs the package vllm"):
        trainer_arguments(config(vllm="colocate"), tmp_path, 7)


def test_trl_gets_mode_and_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "find_spec", lambda name: name)
    trl = trainer_arguments(config(vllm="server", vllm_url="http://127.0.0.1:8000"), tmp_path, 7)
    assert trl.use_vllm
    assert trl.vllm_mode == "server"
    assert trl.vllm_server_base_url == "http://127.0.0.1:8000"
    assert not trainer_arguments(config(), tmp_path, 7).use_vllm


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vllm": "colocate", "sampler": "lines"}, "set rank_grpo.sampler=free"),
        ({"vllm": "server"}, "needs rank_grpo.vllm_url"),
    ],
)
def test_unsupported_vllm_settings_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**settings)
