"""vLLM is a setting for GPU users: what TRL is told, and what is said where it is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from convrec.config import Config
from convrec.errors import TrainingError
from convrec.stages.rank_grpo import algorithms as settings
from convrec.stages.rank_grpo.algorithms import trainer_arguments


def config(**vllm: str) -> Config:
    return Config.model_validate({"rank_grpo": {"sampler": "free", **vllm}})


def test_a_missing_vllm_is_said_in_one_sentence(tmp_path: Path) -> None:
    if settings.find_spec("vllm") is not None:
        pytest.skip("vLLM is installed")
    with pytest.raises(TrainingError, match=r"rank_grpo.vllm=colocate needs the package vllm"):
        trainer_arguments(config(vllm="colocate"), tmp_path, 7)


def test_trl_is_told_mode_and_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda name: name)
    told = trainer_arguments(config(vllm="server", vllm_url="http://127.0.0.1:8000"), tmp_path, 7)
    assert told.use_vllm
    assert told.vllm_mode == "server"
    assert told.vllm_server_base_url == "http://127.0.0.1:8000"
    assert not trainer_arguments(config(), tmp_path, 7).use_vllm


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"vllm": "colocate", "sampler": "lines"}, "set rank_grpo.sampler=free"),
        ({"vllm": "server"}, "needs rank_grpo.vllm_url"),
    ],
)
def test_what_vllm_cannot_do_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(**given)
