"""Which part of a step goes through the model at once, for loaded models and for shapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from convrec.config import Config
from convrec.models.load import load_model
from convrec.training.memory import micro_batch as module
from convrec.training.memory.available import _container_limits, available_memory
from convrec.training.memory.estimate import TrainingSetup, estimate_memory
from convrec.training.memory.micro_batch import (
    MicroBatch,
    choose_micro_batch,
    divisors,
    even_part,
    fit_micro_batch,
)
from convrec.training.memory.model_shape import ModelShape, loaded_shape, model_shape
from tests.support.model_folders import save_model

LENGTHS = {"max_prompt_tokens": 64, "max_completion_tokens": 64}


@pytest.fixture(scope="module")
def model() -> Any:
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return Qwen2ForCausalLM(Qwen2Config(**shape, **heads, vocab_size=300))


@pytest.fixture
def shape(model: Any) -> ModelShape:
    return loaded_shape(model)


@pytest.fixture
def never_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_SPLIT_MODEL", 0)


def config(**sections: Any) -> Config:
    return Config.model_validate({"model": LENGTHS, **sections})


def peak(shape: ModelShape, setup: TrainingSetup, rows: int, *, recompute: bool = False) -> float:
    tried = replace(setup, micro_batch=rows, recompute=recompute)
    return estimate_memory(shape, tried).peak


def test_a_loaded_model_has_the_shape_of_its_folder(tmp_path: Path) -> None:
    for family in ("llama", "gpt2", "bloom", "gemma2"):
        folder = save_model(tmp_path / family, family)
        loaded = loaded_shape(load_model(folder))
        read = model_shape(str(folder))
        assert (loaded.parameters, loaded.layer, loaded.modules) == (
            read.parameters,
            read.layer,
            read.modules,
        )


def test_a_step_of_a_small_model_stays_whole(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_memory", lambda: 0.0)
    assert choose_micro_batch(model, config(), "sft", 12) == MicroBatch(12, recompute=False)
    settings = config(sft={"micro_batch": 4}, train={"gradient_checkpointing": "on"})
    assert choose_micro_batch(model, settings, "sft", 12) == MicroBatch(4, recompute=True)


def test_the_whole_step_is_preferred_then_parts_then_recomputation(shape: ModelShape) -> None:
    setup = TrainingSetup("rank_grpo", 8, 64, 64, bf16=False, reference=True)

    def fit(limit: float) -> MicroBatch:
        return fit_micro_batch(shape, setup, limit)

    whole, single = peak(shape, setup, 8), peak(shape, setup, 1)
    assert fit(whole) == MicroBatch(8, recompute=False)
    assert fit(whole - 1) == MicroBatch(4, recompute=False)
    assert fit(single) == MicroBatch(1, recompute=False)
    assert fit(single - 1).recompute
    assert fit(0) == MicroBatch(1, recompute=True)


def test_what_a_user_sets_is_kept(shape: ModelShape) -> None:
    setup = TrainingSetup("sft", 8, 64, 64, bf16=False)
    assert fit_micro_batch(shape, setup, 0, requested=2) == MicroBatch(2, recompute=True)
    assert fit_micro_batch(shape, setup, 1e12, requested=2) == MicroBatch(2, recompute=False)
    assert fit_micro_batch(shape, setup, 0, recompute=False) == MicroBatch(1, recompute=False)
    assert fit_micro_batch(shape, setup, 1e12, recompute=True) == MicroBatch(8, recompute=True)


@pytest.mark.usefixtures("never_small")
def test_free_memory_decides_for_larger_models(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []
    for free in (1e12, 0.0):
        monkeypatch.setattr(module, "available_memory", lambda free=free: free)
        chosen.append(choose_micro_batch(model, config(), "rank_grpo", 16))
    assert chosen == [MicroBatch(16, recompute=False), MicroBatch(1, recompute=True)]


def test_a_cpu_gets_no_more_tokens_than_it_gains_from(
    shape: ModelShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CPU_MODEL", 0)
    setup = TrainingSetup("sft", 12, 64, 64, bf16=False, fused=False)
    assert fit_micro_batch(shape, setup, 1e12) == MicroBatch(2, recompute=False)  # 256 tokens
    assert fit_micro_batch(shape, replace(setup, fused=True), 1e12).rows == 12
    assert fit_micro_batch(shape, replace(setup, prompt=2048), 1e12).rows == 1


@pytest.mark.usefixtures("never_small")
def test_a_cpu_recomputes_before_activations_outgrow_the_weights(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "available_memory", lambda: 1e12)
    assert not choose_micro_batch(model, config(), "rank_grpo", 16).recompute
    monkeypatch.setattr(module, "CPU_MODEL", 0)
    assert choose_micro_batch(model, config(), "rank_grpo", 16).recompute
    assert not choose_micro_batch(model, config(), "sft", 16).recompute


@pytest.mark.usefixtures("never_small")
@pytest.mark.parametrize("family", ["gpt2", "bloom", "falcon_h1", "mamba", "opt"])
def test_every_family_gets_a_split(tmp_path: Path, family: str) -> None:
    model = load_model(save_model(tmp_path / family, family))
    chosen = choose_micro_batch(model, config(), "sft", 8)
    assert chosen == MicroBatch(8, recompute=False)


def test_estimates_of_frozen_weights_and_8_bit_moments(shape: ModelShape) -> None:
    setup = TrainingSetup("rank_grpo", 8, 64, 64, bf16=False, reference=True)
    whole = estimate_memory(shape, setup)
    bf16 = estimate_memory(shape, replace(setup, frozen_bytes=2))
    assert (bf16.reference, bf16.weights) == (whole.reference / 2, whole.weights)
    small = estimate_memory(shape, replace(setup, optimizer="paged_adamw_8bit"))
    embeddings = 300 * 64
    others = shape.parameters - embeddings
    assert small.optimizer == pytest.approx(8 * embeddings + 2 * (1 + 4 / 256) * others)
    adapted = replace(setup, lora=2, targets=("q_proj",), reference=False)
    full, half = (
        estimate_memory(shape, replace(adapted, frozen_bytes=size)).weights for size in (4, 2)
    )
    assert full - half == 2 * shape.parameters
    sharded = estimate_memory(shape, replace(setup, processes=4, sharded=True))
    assert sharded.reference == whole.reference / 4
    rounded = estimate_memory(shape, replace(setup, bf16=True))
    assert rounded.reference == 2 * shape.parameters + 2 * 2 * embeddings  # and the output layer
    assert estimate_memory(shape, replace(setup, vllm=7.0)).peak == whole.peak + 7


def test_gradients_stay_between_micro_batches(shape: ModelShape) -> None:
    setup = TrainingSetup("sft", 8, 64, 64, bf16=False)
    assert estimate_memory(shape, setup).accumulated == 0
    parts = estimate_memory(shape, replace(setup, micro_batch=2))
    assert parts.accumulated == 4 * shape.parameters
    assert parts.gradients == parts.accumulated + 4 * 300 * 64  # those of the embeddings once more


def test_divisors_are_the_equal_parts() -> None:
    assert divisors(12) == [12, 6, 4, 3, 2, 1]
    assert divisors(7) == [7, 1]


@pytest.mark.parametrize(
    ("rows", "requested", "part"),
    [(8, 8, 8), (8, 3, 3), (12, 8, 6), (5, 4, 3), (2, 9, 2), (7, 1, 1), (7, 0, 0)],
)
def test_parts_are_as_few_and_as_equal_as_possible(rows: int, requested: int, part: int) -> None:
    assert even_part(rows, requested) == part


def test_available_memory_heeds_the_limit_of_a_container(tmp_path: Path) -> None:
    assert not torch.cuda.is_available()
    assert 0 < available_memory() < 1e15
    (tmp_path / "memory.max").write_text("1000")
    (tmp_path / "memory.current").write_text("700")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 100\n")
    assert 400.0 in _container_limits(tmp_path) or not _container_limits(tmp_path)
    (tmp_path / "memory.max").write_text("max")
    assert _container_limits(tmp_path) == []
