"""Healthy models of several families: each passes, is trained for a step and writes lists."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from convrec.config import Config
from convrec.models.checks import check_base_model
from convrec.models.generation.sample import sample_texts
from convrec.models.load import load_checkpoint
from convrec.stages.sft.train import train_sft
from tests.support.micro import ROWS
from tests.support.model_folders import save_model

WITH_GAPS = ("llama", "qwen2", "qwen3", "gpt2", "phi3", "gpt_neox", "bloom", "opt", "mistral")
WIDE_WINDOWS = ("gemma2", "gemma3_text")
WITHOUT_GAPS = ("lfm2", "falcon_h1", "mpt")


def settings(folder: Path, sampler: str = "distinct", **lora: object) -> Config:
    return Config.model_validate(
        {
            "list_length": 3,
            "reflect": {"top": 5},
            "model": {
                "base": str(folder),
                "prompt": "plain",
                "max_prompt_tokens": 64,
                "max_completion_tokens": 32,
            },
            "sft": {
                "epochs": 1,
                "batch_size": 8,
                "warmup_ratio": 0,
                "learning_rate": 1e-2,
                "lora": lora,
            },
            "rank_grpo": {"sampler": sampler},
            "evaluate": {"sampler": sampler},
        }
    )


@pytest.mark.parametrize("family", [*WITH_GAPS, *WIDE_WINDOWS, *WITHOUT_GAPS])
def test_a_family_is_trained_and_sampled(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path / "home"))
    folder = save_model(tmp_path / "student", family)
    config = settings(folder, "lines" if family in WITHOUT_GAPS else "distinct")
    assert check_base_model(config)
    figures, _ = train_sft(ROWS[:8], [], config, tmp_path / "out", seed=0)
    assert figures["steps"] == 1
    student = load_checkpoint(tmp_path / "out")
    before = load_checkpoint(folder).model.get_input_embeddings().weight
    assert not torch.equal(before, student.model.get_input_embeddings().weight)
    lists = sample_texts(student, ["like Heat", "like Up and Alien"], config=config, samples=3)
    assert [len(texts) for texts in lists] == [3, 3]


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3", "gpt_neox", "bloom"])
def test_adapters_of_a_family_are_trained(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path / "home"))
    folder = save_model(tmp_path / "student", family)
    config = settings(folder, rank=2)
    assert check_base_model(config)
    train_sft(ROWS[:8], [], config, tmp_path / "out", seed=0)
    base = load_checkpoint(folder).model.state_dict()
    changed = {
        name.split(".")[-2]
        for name, weight in load_checkpoint(tmp_path / "out").model.state_dict().items()
        if not torch.equal(weight, base[name])
    }
    expected = {
        "llama": {"q_proj", "k_proj", "v_proj", "o_proj"},
        "gpt2": {"c_attn", "c_proj", "c_fc"},
        "phi3": {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"},
    }
    attention_and_mlp = {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}
    assert changed == expected.get(family, attention_and_mlp)
