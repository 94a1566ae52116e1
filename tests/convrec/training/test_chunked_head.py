"""TRL's head as it is adapted for a CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from trl.kernels import chunked_logprob
from trl.trainer.utils import add_fused_lm_head

from convrec.models.hardware import SMALL_MODEL
from convrec.models.memory_limits import CPU_TILE_TOKENS
from convrec.training.chunked_head import cpu_head

PROMPT, LIST, VOCABULARY = 40, 100, 33_000

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the head of a CPU")


def model_of(parameters: int) -> Any:
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(shape)
    add_fused_lm_head(model, temperature=0.7, outputs=("log_probs", "entropy"))
    model.num_parameters = lambda: parameters  # its size decides
    return model


def head_of(model: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    model.zero_grad()
    out = backward(model)
    return out.log_probs.detach(), out.entropy.detach(), model.lm_head.weight.grad


def backward(model: Any) -> Any:
    torch.manual_seed(1)
    ids = torch.randint(0, VOCABULARY, (3, PROMPT + LIST))
    labels = ids.clone()
    labels[:, :PROMPT] = -100
    out = model(input_ids=ids, labels=labels, fused_lm_head=True)
    out.log_probs.sum().backward()
    return out


def test_smaller_tiles_without_prompts_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = model_of(SMALL_MODEL), []
    fold = chunked_logprob._forward_tile

    def record(tile: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        rows.append(len(tile))
        fold(tile, *args, **kwargs)

    expected = head_of(model)
    monkeypatch.setattr(chunked_logprob, "_forward_tile", record)
    with cpu_head(model):
        actual = head_of(model)
    tiles = 2  # 33,000 words in tiles of 32,768
    assert max(rows) == CPU_TILE_TOKENS
    assert sum(rows) == tiles * 3 * LIST
    for mine, plain in zip(actual, expected, strict=True):
        assert torch.allclose(mine, plain, atol=1e-5)
    assert chunked_logprob.TOKEN_CHUNK_SIZE == 4096


def test_gradients_of_several_backward_passes_add_up() -> None:
    model = model_of(SMALL_MODEL)
    once = head_of(model)[2].clone()
    with cpu_head(model):
        assert torch.allclose(head_of(model)[2], once, atol=1e-5)
        backward(model)  # on top of those of `head_of`, as a step of two micro-batches has them
    assert torch.allclose(model.lm_head.weight.grad, 2 * once, atol=1e-5)


def test_frozen_weights_have_no_gradient() -> None:
    model = model_of(SMALL_MODEL)
    model.lm_head.weight.requires_grad_(False)
    with cpu_head(model):
        backward(model)
    assert model.lm_head.weight.grad is None
    assert model.model.norm.weight.grad is not None


def test_a_small_model_keeps_the_head_of_trl() -> None:
    model = model_of(SMALL_MODEL - 1)
    with cpu_head(model):
        assert chunked_logprob.TOKEN_CHUNK_SIZE == 4096
