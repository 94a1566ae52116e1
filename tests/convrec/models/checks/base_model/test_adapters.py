"""Adapters fit the modules of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convrec.config import Config
from convrec.errors import ConfigError
from convrec.models.checks import check_base_model
from tests.support.broken_models import (
    error_of,
    of_family,
    settings,
)

LORA_FAMILIES = {
    "llama": "k_proj, o_proj, q_proj, v_proj",
    "gpt2": "all-linear",
    "phi3": "all-linear",
    "bloom": "all-linear",
    "gpt_neox": "all-linear",
}


@pytest.mark.parametrize("family", LORA_FAMILIES)
def test_adapters_fit_the_family(folder: Path, family: str) -> None:
    of_family(family)(folder)
    checked = check_base_model(settings(folder, sft={"lora": {"rank": 2}}))
    assert checked[-1] == f"sft adapts {LORA_FAMILIES[family]}"


@pytest.mark.parametrize("stage", ["sft", "rank_grpo"])
@pytest.mark.parametrize(
    ("names", "unknown"), [(["c_attn"], "c_attn"), (["q_proj", "up"], "up"), ([], "no module")]
)
def test_adapters_of_other_names_are_refused(
    folder: Path, stage: str, names: list[str], unknown: str
) -> None:
    message = error_of(folder, **{stage: {"lora": {"rank": 2, "target_modules": names}}})
    assert message.startswith(f"{stage}.lora.target_modules names {unknown}, which the model does")
    assert "it has down_proj, gate_proj, k_proj," in message


def test_names_of_embeddings_and_paths_are_modules(folder: Path) -> None:
    names = ["embed_tokens", "lm_head", "mlp.up_proj", "layers.1.self_attn.q_proj"]
    lora = {"rank": 2, "target_modules": names}
    assert "adapts" in check_base_model(settings(folder, sft={"lora": lora}))[-1]


def test_adapters_of_tiny_are_checked_without_its_weights() -> None:
    lora: dict[str, Any] = {"rank": 2, "target_modules": ["c_attn"]}
    with pytest.raises(ConfigError, match=r"^rank_grpo\.lora\.target_modules names c_attn, which"):
        check_base_model(Config.model_validate({"rank_grpo": {"lora": lora}}))
    config = Config.model_validate({"sft": {"lora": {"rank": 2}}})
    assert check_base_model(config) == ["sft adapts k_proj, o_proj, q_proj, v_proj"]
    assert check_base_model(config, ["rank_grpo", "evaluate"]) == []
