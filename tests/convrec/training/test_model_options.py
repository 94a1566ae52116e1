"""Attention and the type of frozen weights, as the configuration names them."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from convrec.config import Lora, Model
from convrec.errors import ConfigError
from convrec.models.adapters import lora_config
from convrec.training.model_options import (
    convert_frozen_weights,
    restore_float32,
    round_linear_weights,
    set_attention,
)


@pytest.fixture
def model() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def test_attention_is_the_requested_one(model: LlamaForCausalLM) -> None:
    set_attention(model, "")
    assert model.config._attn_implementation == "sdpa"
    set_attention(model, "", fastest="eager")
    assert model.config._attn_implementation == "eager"
    set_attention(model, "sdpa", fastest="eager")
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("name", ["flash_attention_2", "nonsense"])
def test_unusable_attention_is_one_sentence(model: LlamaForCausalLM, name: str) -> None:
    with pytest.raises(ConfigError, match=f"train.attn_implementation={name} cannot") as raised:
        set_attention(model, name)
    assert "\n" not in str(raised.value)


def test_only_a_frozen_base_is_converted(model: LlamaForCausalLM) -> None:
    from peft import get_peft_model

    settings, lora = Model(weights="bfloat16"), Lora(rank=2)
    convert_frozen_weights(model, settings, Lora())
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    convert_frozen_weights(model, settings, lora)
    adapted = get_peft_model(model, lora_config(lora, model, "sft"))
    types = {weight.requires_grad: weight.dtype for weight in adapted.parameters()}
    assert types == {True: torch.float32, False: torch.bfloat16}
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32
    restore_float32(adapted)
    assert {weight.dtype for weight in adapted.parameters()} == {torch.float32}


@pytest.mark.parametrize("tied", [False, True])
def test_rounded_weights_give_the_same_logits(model: LlamaForCausalLM, tied: bool) -> None:
    if tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    ids = torch.arange(24).reshape(2, 12)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before = model(ids).logits
        round_linear_weights(model)
        after = model(ids).logits
    assert torch.equal(before, after)
    assert model.model.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16
    assert model.lm_head.weight.dtype == model.model.embed_tokens.weight.dtype == torch.float32
