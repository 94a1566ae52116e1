"""The TRL trainer of an algorithm, with its rewards, rollout and validation."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import torch
import trl.trainer.grpo_trainer
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOTrainer

from convrec.models.adapters import lora_config
from convrec.models.generation.multinomial import uniform_draws
from convrec.models.hardware import computes_in_bf16
from convrec.rank_grpo.advantages import Shaping
from convrec.rank_grpo.rollout import Rollout
from convrec.stages.rank_grpo.algorithms import ALGORITHMS
from convrec.stages.rank_grpo.arguments import lists_of_process, trainer_arguments
from convrec.stages.rank_grpo.callbacks import StepMetricsCallback, StepTimer
from convrec.stages.rank_grpo.gate import Gate
from convrec.stages.rank_grpo.inputs import TrainingInputs
from convrec.stages.rank_grpo.reward_function import make_scorer
from convrec.stages.rank_grpo.shaping_reward import ShapingReward
from convrec.stages.rank_grpo.validation import Validation
from convrec.stages.rank_grpo.vllm import (
    SERVER_TIMEOUT,
    VllmRollout,
    one_line_errors,
    sample_texts,
    stop_at_eos,
)
from convrec.stages.rank_grpo.vllm_server import check_server
from convrec.training.batch_split import split_step
from convrec.training.best_weights import collector
from convrec.training.fsdp import reduce_in_float32
from convrec.training.metrics_log import MetricsLog
from convrec.training.model_options import (
    convert_frozen_weights,
    round_linear_weights,
    set_attention,
)
from convrec.training.trim_memory import TrimMemory, trim_before_backward
from convrec.utils.distributed import is_first, is_sharded
from convrec.utils.progress import Progress


def make_trainer(
    inputs: TrainingInputs, folder: Path, metrics_log: MetricsLog, progress: Progress
) -> GRPOTrainer:
    """The algorithm's trainer; all algorithms share rewards, sampler and logging."""
    student, config, timer = inputs.student, inputs.config, StepTimer()
    settings = config.rank_grpo
    bf16 = computes_in_bf16(student.model, config.model.bf16)
    # The fused kernel's backward pass is slow in bf16 on a CPU.
    fastest = "eager" if bf16 and not torch.cuda.is_available() else ""
    set_attention(student.model, config.train.attn_implementation, fastest=fastest)
    split = split_step(
        student.model,
        config,
        "rank_grpo",
        lists_of_process(config),
        folder,
        prompt=_longest_prompt(inputs.data),
        completion=inputs.sampler.max_tokens,
        bf16=bf16,
    )
    convert_frozen_weights(student.model, config.model, settings.lora)
    scorer = make_scorer(inputs.index, config)
    if settings.vllm == "server" and is_first():
        check_server(config, student, timeout=SERVER_TIMEOUT)
    rollout = VllmRollout() if settings.vllm else make_rollout(inputs)
    shaping = Shaping(settings.overflow, settings.exact, settings.early, settings.fault)
    rewards: list[Any] = [scorer]
    if settings.reward_shaping:
        vocabulary = student.model.config.vocab_size
        rewards.append(ShapingReward(scorer, rollout, shaping, student.tokenizer, vocabulary))
    options: dict[str, Any] = {
        "model": student.model,
        "reward_funcs": [timer.timed("scoring", reward) for reward in rewards],
        "args": trainer_arguments(config, folder, inputs.seed, split=split, bf16=bf16),
        "train_dataset": inputs.data,
        "processing_class": student.tokenizer,
        "callbacks": [StepMetricsCallback(progress, metrics_log, timer), TrimMemory()],
        "peft_config": lora_config(settings.lora, student.model, "rank_grpo"),
        "rollout_func": timer.timed("sampling", rollout),
    }
    algorithm = ALGORITHMS[settings.algorithm]
    if algorithm.rewards_ranks:
        options |= {
            "rank_reward": timer.timed("scoring", scorer.rank_rewards),
            "rank_faults": timer.timed("scoring", scorer.rank_faults),
            "n_ranks": config.list_length,
            "shaping": shaping,
            "reduction": settings.reduction,
        }
    is_constrained = settings.sampler == "constrained"
    trainer_class = algorithm.constrained_trainer if is_constrained else algorithm.trainer
    with _hide_expected_warnings(), one_line_errors(settings):
        trainer = trainer_class(**options)
    trainer.rollout = rollout
    if settings.reward_shaping:
        rewards[1].eos_ids = trainer.eos_token_ids
    if settings.vllm:
        stop_at_eos(trainer)
    reduce_in_float32(trainer)
    if bf16 and not torch.cuda.is_available():
        trim_before_backward(trainer.accelerator)
    if bf16 and trainer.ref_model is not None and not is_sharded():
        round_linear_weights(trainer.ref_model)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _longest_prompt(data: Dataset) -> int:
    """Tokens of the longest prompt, whose rows may be used several times."""
    return int(pc.max(pc.list_value_length(data.data.column("prompt"))).as_py())


@contextmanager
def _hide_expected_warnings() -> Iterator[None]:
    """Hide what TRL says about its rollout hook, and about arguments of the reference model."""

    def is_news(record: logging.LogRecord) -> bool:
        return "model_init_kwargs" not in record.getMessage()

    logger = logging.getLogger(trl.trainer.grpo_trainer.__name__)
    logger.addFilter(is_news)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
            yield
    finally:
        logger.removeFilter(is_news)


def make_rollout(inputs: TrainingInputs) -> Rollout:
    """A rollout with the training's sampler and temperature."""
    return Rollout(inputs.config.rank_grpo.temperature, inputs.sampler)


def make_validation(
    inputs: TrainingInputs, trainer: GRPOTrainer, metrics_log: MetricsLog
) -> Validation | None:
    """The validation callback; None if it is disabled or there are no samples."""
    if not inputs.validation:
        return None
    prompts = [sample["prompt"] for sample in inputs.validation]
    return Validation(
        inputs.validation,
        _text_sampler(inputs, trainer, prompts, inputs.seed),
        inputs.index,
        inputs.config,
        metrics_log,
        trained_weights=collector(trainer),
    )


def make_gate(inputs: TrainingInputs, trainer: GRPOTrainer, metrics_log: MetricsLog) -> Gate | None:
    """The gate before the first step; None if `rank_grpo.min_mixed` is 0.

    Its prompts are the first of the training. As many lists as in a step are sampled at once.
    """
    settings, scorer = inputs.config.rank_grpo, make_scorer(inputs.index, inputs.config)
    if not settings.min_mixed:
        return None
    rows = _first_rows(inputs.data, settings.gate_prompts)
    rewards_ranks = ALGORITHMS[settings.algorithm].rewards_ranks
    reward = scorer.rank_rewards if rewards_ranks else scorer.list_reward
    size, at_once = settings.group_size, settings.prompts_per_step * settings.group_size
    lists = [row for row in rows for _ in range(size)]

    def sample_rewards() -> list[list[Any]]:
        rewards: list[Any] = []
        for start in range(0, len(lists), at_once):
            part = lists[start : start + at_once]
            prompts = [row["prompt"] for row in part]
            texts = _text_sampler(inputs, trainer, prompts, inputs.seed + start)()
            rewards += map(reward, texts, part)
        return [rewards[i : i + size] for i in range(0, len(rewards), size)]

    return Gate(sample_rewards, settings, metrics_log)


def _first_rows(data: Dataset, count: int) -> list[dict[str, Any]]:
    """The first `count` different rows, or all that there are."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in data:
        rows.setdefault((tuple(row["prompt"]), str(row["ground_truth"])), row)
        if len(rows) == count:
            break
    return list(rows.values())


def _text_sampler(
    inputs: TrainingInputs, trainer: GRPOTrainer, prompts: list[list[int]], seed: int
) -> Callable[[], list[str]]:
    """Samples a list for each prompt with the current weights; every process calls it.

    The random numbers follow from `seed` and are the same in each call. vLLM draws its own.
    """
    tokenizer, rollout = inputs.student.tokenizer, make_rollout(inputs)
    count, rank = trainer.accelerator.num_processes, trainer.accelerator.process_index
    local = slice(len(prompts) * rank // count, len(prompts) * (rank + 1) // count)

    def generate() -> list[str]:
        texts: list[str] = []
        if prompts[local]:  # there may be more processes than prompts
            draws = uniform_draws(len(prompts), inputs.sampler.max_tokens, seed)
            ids = rollout(prompts[local], trainer, draws[local])["completion_ids"]
            texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        return gather_object(texts)

    def generate_with_vllm() -> list[str]:
        return sample_texts(trainer, prompts)

    return generate_with_vllm if inputs.config.rank_grpo.vllm else generate
