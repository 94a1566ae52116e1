from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig
from transformers.cache_utils import DynamicLayer

from convrec.models.generation.kv_cache import RoomyLayer, roomy_cache


@pytest.mark.parametrize("room", [1, 6, 40])
def test_keys_and_values_are_those_of_the_cache_of_transformers(room: int) -> None:
    torch.manual_seed(0)
    roomy, plain = RoomyLayer(room), DynamicLayer()

    def both_read(batch: int, tokens: int) -> None:
        states = torch.rand(batch, 2, tokens, 3), torch.rand(batch, 2, tokens, 3)
        for mine, theirs in zip(roomy.update(*states), plain.update(*states), strict=True):
            assert torch.equal(mine, theirs)

    both_read(2, 4)
    for layer in (roomy, plain):
        layer.batch_repeat_interleave(2)
    both_read(4, 1)
    both_read(4, 3)
    for layer in (roomy, plain):
        layer.batch_select_indices(torch.tensor([3, 0]))
    for _ in range(5):
        both_read(2, 1)
    assert roomy.get_seq_length() == plain.get_seq_length() == 13


def test_a_step_with_room_copies_nothing() -> None:
    layer = RoomyLayer(8)
    first = layer.update(torch.rand(1, 1, 5, 2), torch.rand(1, 1, 5, 2))[0]
    second = layer.update(torch.rand(1, 1, 1, 2), torch.rand(1, 1, 1, 2))[0]
    assert first.data_ptr() == second.data_ptr()


def test_only_layers_of_plain_attention_get_room() -> None:
    layers = roomy_cache(LlamaConfig(num_hidden_layers=2), 9).layers
    assert [type(layer) for layer in layers] == [RoomyLayer, RoomyLayer]
