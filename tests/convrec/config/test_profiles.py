"""The profiles that ship: each can be loaded, and those of the paper have its values."""

from __future__ import annotations

import pytest

from convrec.config import Config, load, profiles

PAPER = {
    "paper-qwen2.5-0.5b": "Qwen/Qwen2.5-0.5B-Instruct",
    "paper-llama-3.2-1b": "meta-llama/Llama-3.2-1B-Instruct",
    "paper-llama-3.2-3b": "meta-llama/Llama-3.2-3B-Instruct",
}

PUBLISHED = {
    "list_length": 20,
    "recommend.model": "gpt-4o",
    "remap.similarity_weight": 1.0,
    "remap.conversation_weight": 1.0,
    "remap.keep": 100,
    "reflect.model": "gpt-4o",
    "reflect.top": 100,
    "reflect.scale": 2,
    "reflect.weight": 0.5,
    "adjust.pull": 0.01,
    "adjust.bias_pull": 0.01,
    "model.max_prompt_tokens": 2048,
    "model.max_completion_tokens": 1024,
    "model.bf16": True,
    "sft.epochs": 10,
    "sft.steps": 0,
    "sft.batch_size": 12 * 8 * 2,
    "sft.learning_rate": 5e-5,
    "sft.schedule": "cosine",
    "sft.warmup_ratio": 0.05,
    "sft.eval_every": 10,
    "sft.lora.rank": 0,
    "sft.optimizer.name": "paged_adamw_8bit",
    "rank_grpo.algorithm": "rank_grpo",
    "rank_grpo.epochs": 2,
    "rank_grpo.prompts_per_step": 16 * 6 * 4 // 8,
    "rank_grpo.group_size": 8,
    "rank_grpo.iterations": 1,
    "rank_grpo.learning_rate": 1e-6,
    "rank_grpo.warmup_ratio": 0.0,
    "rank_grpo.optimizer.name": "paged_adamw_8bit",
    "rank_grpo.optimizer.beta1": 0.9,
    "rank_grpo.optimizer.beta2": 0.99,
    "rank_grpo.beta": 1e-3,
    "rank_grpo.epsilon_low": 0.06,
    "rank_grpo.epsilon_high": 0.08,
    "rank_grpo.overflow": -0.1,
    "rank_grpo.exact": 0.1,
    "rank_grpo.early": -0.1,
    "rank_grpo.fault": 0.0,
    "rank_grpo.sampler": "free",
    "rank_grpo.temperature": 1.0,
    "rank_grpo.vllm": "colocate",
    "rank_grpo.vllm_tensor_parallel": 4,
    "rank_grpo.vllm_memory": 0.5,
    "rank_grpo.save_every": 200,
    "rank_grpo.lora.rank": 0,
    "train.parallel": "zero3",
    "train.gradient_checkpointing": "on",
    "evaluate.vllm": True,
    "evaluate.temperature": 0.0,
    "evaluate.samples": 1,
    "evaluate.sampler": "free",
}


def value(config: Config, key: str) -> object:
    found: object = config
    for part in key.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", profiles())
def test_every_profile_loads_and_says_what_it_is(name: str) -> None:
    config = load(name)
    assert (config.profile, bool(config.description)) == (name, True)


@pytest.mark.parametrize("name", PAPER)
def test_the_profiles_of_the_paper_have_its_values(name: str) -> None:
    config = load(name)
    assert config.model.base == PAPER[name]
    assert {key: value(config, key) for key in PUBLISHED} == PUBLISHED


def test_the_larger_models_drop_the_learning_rate() -> None:
    schedules = {
        name: (grpo.schedule, grpo.drop_step) for name in PAPER for grpo in [load(name).rank_grpo]
    }
    assert schedules == {
        "paper-qwen2.5-0.5b": ("constant", 0),
        "paper-llama-3.2-1b": ("drop", 8000),
        "paper-llama-3.2-3b": ("drop", 8000),
    }
    assert load("paper-llama-3.2-3b").rank_grpo.drop_factor == 0.1


def test_the_profiles_of_the_paper_differ_in_model_and_schedule_only() -> None:
    first, *others = (
        load(name).model_dump(
            exclude={
                "profile": True,
                "description": True,
                "model": {"base"},
                "rank_grpo": {"schedule", "drop_step"},
            }
        )
        for name in PAPER
    )
    assert all(other == first for other in others)
