"""Plans for shipped models and folders: published sizes, memory by part, and errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from convrec.config import Config, load
from convrec.errors import InputError
from convrec.operations.sizing.gpus import parse_machine
from convrec.operations.sizing.overrides import run_commands
from convrec.operations.sizing.plan import plan_stage
from convrec.training.memory.estimate import (
    TILE_COLUMNS,
    UNFUSED_COPIES,
    TrainingSetup,
    estimate_memory,
)
from convrec.training.memory.micro_batch import USABLE_MEMORY
from convrec.training.memory.model_shape import model_shape, saved_activations
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
def test_shipped_models_have_their_published_size(name: str, billions: float) -> None:
    assert model_shape(name).parameters / 1e9 == pytest.approx(billions, abs=0.0101)


def test_a_folder_is_counted_by_hand(folder: str) -> None:
    shape = model_shape(folder)
    attention = 64 * 64 + 64 + 2 * (64 * 32 + 32) + 64 * 64  # q, k and v with biases, o without
    layer = attention + 3 * 64 * 128 + 2 * 64
    assert (shape.layer, shape.parameters) == (layer, 3 * layer + 300 * 64 + 64)
    assert shape.adapter(2, ("q_proj", "k_proj")) == 3 * 2 * (128 + 96)
    assert shape.cache(2) == 2 * 3 * 32 * 2


def test_parts_depend_on_the_strategy(folder: str) -> None:
    shape = model_shape(folder)
    alone = estimate_memory(shape, TrainingSetup("sft", 4, 8, 8))
    assert alone.weights == alone.gradients == 4 * shape.parameters
    assert alone.optimizer == 8 * shape.parameters
    assert alone.sampling == alone.reference == alone.buckets == alone.recomputation == 0
    shared = estimate_memory(shape, TrainingSetup("sft", 4, 8, 8, processes=2))
    assert (shared.gradients, shared.buckets) == (alone.gradients, alone.gradients)
    sharded = estimate_memory(shape, TrainingSetup("sft", 4, 8, 8, processes=2, sharded=True))
    assert sharded.optimizer == alone.optimizer / 2
    outside_layers = 300 * 64 + 64
    assert sharded.weights == alone.weights / 2 + 4 * (2 * shape.layer + outside_layers)
    assert sharded.gradients == alone.gradients / 2 + 4 * (shape.layer + outside_layers)
    adapted = estimate_memory(
        shape, TrainingSetup("rank_grpo", 4, 8, 8, lora=2, targets=("q_proj",), samples=True)
    )
    assert adapted.optimizer == 8 * shape.adapter(2, ("q_proj",))
    assert adapted.sampling == 4 * 16 * shape.cache(2) + 3 * 4 * 300 * 4
    full = estimate_memory(shape, TrainingSetup("rank_grpo", 4, 8, 8, samples=True))
    assert full.sampling == adapted.sampling + 2 * shape.parameters


def test_logits_are_in_one_piece_or_tiled(folder: str) -> None:
    shape = model_shape(folder)
    pieces = estimate_memory(shape, TrainingSetup("sft", 4, 8, 8))
    assert pieces.logits == 3 * 4 * 8 * 300 * 4
    tiled = estimate_memory(shape, TrainingSetup("rank_grpo", 4, 8, 8, bf16=False))
    gradients = 4 * 8 * 64 * 4 + 300 * 64 * 4  # of the head's input and weights
    assert tiled.logits == 32 * TILE_COLUMNS * 4 + gradients
    on_cpu = estimate_memory(shape, TrainingSetup("rank_grpo", 4, 8, 8, bf16=False, fused=False))
    assert on_cpu.logits > 2 * UNFUSED_COPIES * 32 * 300 * 4  # includes the prompt's positions


def test_the_peak_is_the_maximum_of_a_step(folder: str) -> None:
    shape, setup = model_shape(folder), TrainingSetup("sft", 4, 8, 8)
    kept = estimate_memory(shape, setup)
    always = kept.weights + kept.optimizer
    assert kept.peak == always + max(kept.activations + kept.logits, kept.gradients)
    recomputed = estimate_memory(shape, replace(setup, recompute=True))
    inputs = 4 * 16 * 64 * 4  # of a layer
    rest = kept.activations - 3 * recomputed.recomputation
    assert recomputed.activations == 3 * inputs + rest
    assert (
        replace(recomputed, logits=0, gradients=0).peak
        == always + recomputed.activations + recomputed.recomputation
    )


def test_frozen_weights_save_fewer_activations(folder: str) -> None:
    shape = model_shape(folder)
    full = saved_activations(shape, 4, 16, bf16=False)
    adapted = saved_activations(shape, 4, 16, bf16=False, adapters=(2, ("q_proj",)))
    assert 0 < adapted.layer < full.layer
    more = saved_activations(shape, 4, 16, bf16=False, adapters=(3, ("q_proj",)))
    assert more.layer - adapted.layer == 4 * 16 * 4  # one more number a token


def test_activations_grow_with_the_batch(folder: str) -> None:
    shape, setup = model_shape(folder), TrainingSetup("sft", 4, 8, 8, bf16=False)
    one, two = estimate_memory(shape, setup), estimate_memory(shape, replace(setup, rows=8))
    assert two.activations == pytest.approx(2 * one.activations, rel=0.05)
    assert two.weights == one.weights


def test_a_large_model_is_sharded_or_gets_adapters() -> None:
    shape, machine, config = (
        model_shape("Qwen2.5-7B-Instruct"),
        parse_machine("8xh100"),
        load("reddit-v2"),
    )
    sft = plan_stage("sft", shape, machine, config, 100_000, 1)
    assert (sft.parallel, sft.rows, sft.setup.rows) == ("fsdp", 12, 2)
    rank_grpo = plan_stage("rank_grpo", shape, machine, config, 1, 100_000)
    assert (rank_grpo.parallel, rank_grpo.settings["rank_grpo.lora.rank"]) == ("ddp", 16)
    assert rank_grpo.settings["rank_grpo.learning_rate"] == 1e-5  # ten times the profile's
    assert "rule of thumb" in rank_grpo.notes[0]
    for plan in (sft, rank_grpo):
        assert plan.memory.peak <= USABLE_MEMORY * machine.memory
        Config.model_validate({"train": {"parallel": plan.parallel}})
    with pytest.raises(InputError, match=r"needs at least \d+ GB on each GPU"):
        plan_stage("rank_grpo", shape, parse_machine("L4"), config, 1, 1)


@pytest.mark.parametrize("gpus", ["8xH100", "4xA100-80GB"])
@pytest.mark.parametrize(
    "profile", ["paper-llama-3.2-3b", "paper-llama-3.2-1b", "paper-qwen2.5-0.5b"]
)
def test_the_recipe_of_the_paper_fits(gpus: str, profile: str) -> None:
    config, machine = load(profile), parse_machine(gpus)
    shape = model_shape(config.model.base)
    plan = plan_stage("rank_grpo", shape, machine, config, 1, 383_013)
    assert (plan.parallel, plan.rows, plan.steps, plan.notes) == ("zero3", 384, 15_958, ())
    assert plan.setup.recompute
    assert plan.setup.rows % plan.setup.at_once == 0
    assert plan.setup.vllm == 0.5 * machine.memory
    assert plan.memory.vllm < plan.memory.peak <= USABLE_MEMORY * machine.memory
    assert set(plan.settings) == {
        f"train.{key}" for key in ("launcher", "parallel", "processes")
    } | {"rank_grpo.micro_batch"}


def test_an_engine_must_hold_the_model() -> None:
    config = load("paper-llama-3.2-3b", {"rank_grpo.vllm_memory": 0.1})
    shape = model_shape(config.model.base)
    with pytest.raises(InputError, match=r"vllm_memory=0.1 of 1xRTX4090 cannot hold the 6 GB"):
        plan_stage("rank_grpo", shape, parse_machine("RTX4090"), config, 1, 1)


def test_gpus_have_several_spellings() -> None:
    names = {parse_machine(text).name for text in ("4xA100-80GB", "a100-80", "4 x A100-80gb")}
    assert names == {"A100-80"}
    assert parse_machine("8xH100-80GB") == parse_machine("8xh100")


def test_stages_with_another_launch_get_commands_of_their_own() -> None:
    launch = {"train.launcher": "accelerate", "train.parallel": "ddp", "train.processes": 8}
    sft = {**launch, "train.parallel": "fsdp", "sft.micro_batch": 2}
    grpo = {**launch, "rank_grpo.lora.rank": 16}
    first, second = run_commands("reddit-v2", ["seed=8"], {"sft": sft, "rank_grpo": grpo})
    both = "--set seed=8 --set sft.micro_batch=2 --set rank_grpo.lora.rank=16"
    assert first.startswith(f"convrec run reddit-v2 --until sft {both} ")
    assert second.startswith(f"convrec run reddit-v2 {both} ")
    assert ("parallel=fsdp" in first, "parallel=ddp" in second) == (True, True)
    assert len(run_commands("reddit-v2", [], {"sft": launch, "rank_grpo": grpo})) == 1


def test_errors_list_known_gpus_and_models(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"give a count and one of A10G, .*H100.*, such as 8xH100"):
        parse_machine("8xTPU")
    with pytest.raises(InputError, match=r"nor one of the shipped .*\(Llama.*Qwen2.5-7B-Instruct"):
        model_shape("gpt-2")
    (tmp_path / "config.json").write_text('{"model_type": "t5"}', encoding="utf-8")
    with pytest.raises(InputError, match="describes no causal language model"):
        model_shape(str(tmp_path))


def test_the_command_writes_launch_files(folder: str, tmp_path: Path) -> None:
    out, json_file = tmp_path / "launch", tmp_path / "plan.json"
    options = [
        "--model",
        folder,
        "--gpus",
        "2xA100-80",
        "--write",
        str(out),
        "--json",
        str(json_file),
    ]
    result = CliRunner().invoke(app, ["train", "plan", *options], catch_exceptions=False)
    assert result.exit_code == 0
    values = json.loads(json_file.read_text(encoding="utf-8"))
    stages, (command,) = values["stages"], values["commands"]
    assert command.startswith(f"convrec run reddit-v2 --set model.base={folder} ")
    for stage in stages:
        settings = json.loads(Path(stage["file"]).read_text(encoding="utf-8"))
        assert (settings["distributed_type"], settings["num_processes"]) == ("MULTI_GPU", 2)
        assert stage["gb"]["peak"] > 0
