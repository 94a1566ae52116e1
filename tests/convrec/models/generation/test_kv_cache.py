from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig
from transformers.cache_utils import DynamicLayer

from convrec.models.generation.kv_cache import PreallocatedLayer, preallocated_cache


@pytest.mark.parametrize("capacity", [1, 6, 40])
def test_keys_and_values_equal_those_of_transformers(capacity: int) -> None:
    torch.manual_seed(0)
    ours, plain = PreallocatedLayer(capacity), DynamicLayer()

    def both_read(batch: int, tokens: int) -> None:
        states = torch.rand(batch, 2, tokens, 3), torch.rand(batch, 2, tokens, 3)
        for mine, theirs in zip(ours.update(*states), plain.update(*states), strict=True):
            assert torch.equal(mine, theirs)

    both_read(2, 4)
    for layer in (ours, plain):
        layer.batch_repeat_interleave(2)
    both_read(4, 1)
    both_read(4, 3)
    for layer in (ours, plain):
        layer.batch_select_indices(torch.tensor([3, 0]))
    for _ in range(5):
        both_read(2, 1)
    assert ours.get_seq_length() == plain.get_seq_length() == 13


def test_a_step_within_capacity_copies_nothing() -> None:
    layer = PreallocatedLayer(8)
    first = layer.update(torch.rand(1, 1, 5, 2), torch.rand(1, 1, 5, 2))[0]
    second = layer.update(torch.rand(1, 1, 1, 2), torch.rand(1, 1, 1, 2))[0]
    assert first.data_ptr() == second.data_ptr()


def test_only_plain_attention_is_preallocated() -> None:
    layers = preallocated_cache(LlamaConfig(num_hidden_layers=2), 9).layers
    assert [type(layer) for layer in layers] == [PreallocatedLayer, PreallocatedLayer]
