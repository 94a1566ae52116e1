"""Plans for models that ship, and for folders: counts as published, parts that add up, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from convrec.config import Config, load
from convrec.errors import InputError
from convrec.operations.sizing.gpus import machine
from convrec.operations.sizing.memory import TILE_WORDS, UNFUSED, TrainingSetup, memory
from convrec.operations.sizing.model_shape import kept, model_shape
from convrec.operations.sizing.plan import ROOM, plan_stage
from flows.cli import app

SMALL = {
    "model_type": "qwen2",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "tie_word_embeddings": True,
}


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text(json.dumps(SMALL), encoding="utf-8")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("name", "billions"),  # as their model cards have them
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", 0.49),
        ("Qwen/Qwen2.5-7B-Instruct", 7.61),
        ("meta-llama/Llama-3.2-1B-Instruct", 1.23),
        ("meta-llama/Llama-3.2-3B-Instruct", 3.21),
    ],
)
def test_models_that_ship_have_their_published_size(name: str, billions: float) -> None:
    assert model_shape(name).parameters / 1e9 == pytest.approx(billions, abs=0.0101)


def test_a_folder_is_counted_by_hand(folder: str) -> None:
    shape = model_shape(folder)
    attention = 64 * 64 + 64 + 2 * (64 * 32 + 32) + 64 * 64  # q, k and v with biases, o without
    layer = attention + 3 * 64 * 128 + 2 * 64
    assert (shape.layer, shape.parameters) == (layer, 3 * layer + 300 * 64 + 64)
    assert shape.adapter(2, ("q_proj", "k_proj")) == 3 * 2 * (128 + 96)
    assert shape.cache(2) == 2 * 3 * 32 * 2


def test_parts_follow_the_way_of_training(folder: str) -> None:
    shape = model_shape(folder)
    alone = memory(shape, TrainingSetup("sft", 4, 8, 8))
    assert alone.weights == alone.gradients == 4 * shape.parameters
    assert alone.optimizer == 8 * shape.parameters
    assert alone.sampling == alone.reference == alone.buckets == alone.again == 0
    shared = memory(shape, TrainingSetup("sft", 4, 8, 8, processes=2))
    assert (shared.gradients, shared.buckets) == (alone.gradients, alone.gradients)
    cut = memory(shape, TrainingSetup("sft", 4, 8, 8, processes=2, sharded=True))
    assert cut.optimizer == alone.optimizer / 2
    around = 300 * 64 + 64
    assert cut.weights == alone.weights / 2 + 4 * (2 * shape.layer + around)
    assert cut.gradients == alone.gradients / 2 + 4 * (shape.layer + around)
    adapted = memory(shape, TrainingSetup("rank_grpo", 4, 8, 8, lora=2, targets=("q_proj",)))
    assert adapted.optimizer == 8 * shape.adapter(2, ("q_proj",))
    assert adapted.sampling == 4 * 16 * shape.cache(2) + 3 * 4 * 300 * 4
    whole = memory(shape, TrainingSetup("rank_grpo", 4, 8, 8))
    assert whole.sampling == adapted.sampling + 2 * shape.parameters


def test_the_head_takes_logits_in_one_piece_or_by_tiles(folder: str) -> None:
    shape = model_shape(folder)
    pieces = memory(shape, TrainingSetup("sft", 4, 8, 8))
    assert pieces.logits == 3 * 4 * 8 * 300 * 4
    tiled = memory(shape, TrainingSetup("rank_grpo", 4, 8, 8, bf16=False))
    gradients = 4 * 8 * 64 * 4 + 300 * 64 * 4  # of what goes into the head, and of its weights
    assert tiled.logits == 32 * TILE_WORDS * 4 + gradients
    on_cpu = memory(shape, TrainingSetup("rank_grpo", 4, 8, 8, bf16=False, fused=False))
    assert on_cpu.logits > 2 * UNFUSED * 32 * 300 * 4  # the prompt's positions too


def test_the_peak_is_that_of_the_worst_moment(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, asked = model_shape(folder), TrainingSetup("sft", 4, 8, 8)
    held = memory(shape, asked)
    always = held.weights + held.optimizer
    assert held.peak == always + max(held.activations + held.logits, held.gradients)
    monkeypatch.setattr("convrec.operations.sizing.memory.CHECKPOINTED", 1)
    again = memory(shape, asked)
    inputs = 4 * 16 * 64 * 4  # of a layer
    rest = held.activations - 3 * again.again
    assert again.activations == 3 * inputs + rest
    assert replace(again, logits=0, gradients=0).peak == always + again.activations + again.again


def test_frozen_weights_keep_less_of_the_forward_pass(folder: str) -> None:
    shape = model_shape(folder)
    whole = kept(shape, 4, 16, bf16=False)
    adapted = kept(shape, 4, 16, bf16=False, adapters=(2, ("q_proj",)))
    assert 0 < adapted.layer < whole.layer
    more = kept(shape, 4, 16, bf16=False, adapters=(3, ("q_proj",)))
    assert more.layer - adapted.layer == 4 * 16 * 4  # one more number a token


def test_activations_grow_with_the_batch(folder: str) -> None:
    shape, asked = model_shape(folder), TrainingSetup("sft", 4, 8, 8, bf16=False)
    one, two = memory(shape, asked), memory(shape, replace(asked, rows=8))
    assert two.activations == pytest.approx(2 * one.activations, rel=0.05)
    assert two.weights == one.weights


def test_a_model_that_is_too_large_is_cut_or_adapted() -> None:
    shape, on, config = model_shape("Qwen2.5-7B-Instruct"), machine("8xh100"), load("reddit-v2")
    sft = plan_stage("sft", shape, on, config, 100_000)
    assert (sft.parallel, sft.settings["sft.batch_size"] % 8) == ("fsdp", 0)
    reinforced = plan_stage("rank_grpo", shape, on, config, 100_000)
    assert (reinforced.parallel, reinforced.settings["rank_grpo.lora.rank"]) == ("ddp", 16)
    for made in (sft, reinforced):
        assert made.memory.peak <= ROOM * on.memory
        Config.model_validate({"train": {"parallel": made.parallel}})
    with pytest.raises(InputError, match=r"needs \d+ GB on each GPU"):
        plan_stage("rank_grpo", shape, machine("L4"), config, 1)


def test_unknown_gpus_and_models_are_said_with_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"give a number and one of A10G, .*H100.*, as 8xH100"):
        machine("8xTPU")
    with pytest.raises(InputError, match=r"none of those that ship: Llama.*Qwen2.5-7B-Instruct"):
        model_shape("gpt-2")
    (tmp_path / "config.json").write_text('{"model_type": "t5"}', encoding="utf-8")
    with pytest.raises(InputError, match="describes no causal language model"):
        model_shape(str(tmp_path))


def test_the_command_writes_launch_files(folder: str, tmp_path: Path) -> None:
    out, said = tmp_path / "launch", tmp_path / "plan.json"
    options = ["--model", folder, "--gpus", "2xA100-80", "--write", str(out), "--json", str(said)]
    ended = CliRunner().invoke(app, ["train", "plan", *options], catch_exceptions=False)
    assert ended.exit_code == 0
    stages = json.loads(said.read_text(encoding="utf-8"))["stages"]
    for stage in stages:
        settings = json.loads(Path(stage["file"]).read_text(encoding="utf-8"))
        assert (settings["distributed_type"], settings["num_processes"]) == ("MULTI_GPU", 2)
        assert stage["gb"]["peak"] > 0
