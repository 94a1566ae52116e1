"""Attention over a shared prompt equals attention over repeated prompts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import GPT2Config, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from convrec.models.generation import kv_model
from convrec.models.generation.kv_model import CachedModel
from convrec.models.generation.shared_prefix import can_share

SIZES: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
PROMPTS = [[3, 4, 5, 6, 7], [8], [9, 10, 11]]
MODELS = [
    lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
]


def logits_of(model: Any) -> list[torch.Tensor]:
    """Logits of five steps; lists leave before the fourth."""
    torch.manual_seed(1)
    cached = CachedModel(model, PROMPTS, 3, 2, 0)
    found = [cached.logits]
    for step in range(5):
        if step == 3:
            cached.select(torch.tensor([0, 2, 4, 8]))
        cached.read(torch.randint(0, 40, (len(cached.logits), 1)))
        found.append(cached.logits)
    return found


@pytest.mark.parametrize("make", MODELS)
@torch.no_grad()
def test_logits_equal_those_of_repeated_prompts(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = make().eval()
    assert can_share(model)
    shared = logits_of(model)
    assert model.config._attn_implementation == "sdpa"
    monkeypatch.setattr(kv_model, "can_share", lambda _: False)
    for one, other in zip(shared, logits_of(model), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@torch.no_grad()
def test_attention_is_restored_after_an_error() -> None:
    model = MODELS[0]().eval()
    cached = CachedModel(model, PROMPTS, 3, 2, 0)
    with pytest.raises(IndexError):
        cached.read(torch.full((9, 1), 41))
    assert model.config._attn_implementation == "sdpa"


def test_only_supported_models_share() -> None:
    def model(config: Any) -> Any:
        config._attn_implementation = "sdpa"
        return type("Model", (), {"config": config})

    assert can_share(model(LlamaConfig()))
    assert not can_share(model(GPT2Config()))
    assert not can_share(model(Qwen2Config(use_sliding_window=True)))
