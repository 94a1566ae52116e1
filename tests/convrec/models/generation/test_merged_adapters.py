"""Sampling from a model whose adapters are added to its weights for the time being."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from convrec.config import Lora
from convrec.models.adapters import lora_config
from convrec.models.generation.merged_adapters import merged_adapters

IDS = torch.tensor([[1, 2, 3, 4]])


def adapted(*targets: str, tied: bool = False) -> Any:
    """A small model with adapters that change what it computes."""
    from peft import get_peft_model

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM(config)
    lora = Lora(rank=2, target_modules=targets or ("all-linear",))
    model = get_peft_model(model, lora_config(lora, model, "sft"))
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


def layer(model: Any) -> Any:
    return model.get_base_model().model.layers[0].self_attn.q_proj


@torch.no_grad()
def test_merged_model_computes_the_same() -> None:
    model = adapted()
    before = model(IDS).logits
    with model.disable_adapter():
        assert (model(IDS).logits - before).abs().max() > 0.01
    with merged_adapters(model):
        assert layer(model).disable_adapters
        assert torch.allclose(model(IDS).logits, before, atol=1e-5)


def test_weights_and_gradients_are_as_before() -> None:
    model = adapted()
    parameters = {
        name: (weight.data, weight.requires_grad) for name, weight in model.named_parameters()
    }
    with pytest.raises(KeyError), merged_adapters(model):
        raise KeyError
    assert not layer(model).disable_adapters
    for name, weight in model.named_parameters():
        data, requires_grad = parameters[name]
        assert weight.data.data_ptr() == data.data_ptr()
        assert weight.requires_grad == requires_grad
    model(IDS).logits.sum().backward()
    assert layer(model).lora_B["default"].weight.grad.abs().sum() > 0


def test_sums_are_as_autocast_rounds_them() -> None:
    model = adapted()
    with torch.autocast("cpu", torch.bfloat16), merged_adapters(model):
        assert layer(model).base_layer.weight.dtype == torch.bfloat16
    assert layer(model).base_layer.weight.dtype == torch.float32


@pytest.mark.parametrize("targets", [("embed_tokens", "q_proj"), ("lm_head", "q_proj")])
def test_adapters_of_the_embedding_stay_apart(targets: tuple[str, ...]) -> None:
    model = adapted(*targets, tied=True)
    with merged_adapters(model):
        assert not layer(model).disable_adapters


def test_whole_model_is_left_alone() -> None:
    model = adapted().merge_and_unload()
    with merged_adapters(model):
        assert torch.isfinite(model(IDS).logits).all()
