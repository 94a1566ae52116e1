"""The TRL trainer of an algorithm, with its rewards, rollout and validation."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers import PrinterCallback
from trl import GRPOTrainer

from convrec.metrics.rewards import parse_reward
from convrec.models.adapters import lora_config
from convrec.models.generation.multinomial import uniform_draws
from convrec.models.hardware import has_bf16, is_small
from convrec.rank_grpo.rollout import Rollout
from convrec.rank_grpo.trainer import Shaping
from convrec.stages.rank_grpo.algorithms import ALGORITHMS
from convrec.stages.rank_grpo.arguments import trainer_arguments
from convrec.stages.rank_grpo.callbacks import StepMetricsCallback, StepTimer
from convrec.stages.rank_grpo.inputs import TrainingInputs
from convrec.stages.rank_grpo.reward_function import ListScorer
from convrec.stages.rank_grpo.validation import Validation
from convrec.stages.rank_grpo.vllm import (
    SERVER_TIMEOUT,
    VllmRollout,
    one_line_errors,
    sample_texts,
    stop_at_eos,
)
from convrec.stages.rank_grpo.vllm_server import check_server
from convrec.training.best_weights import trained_weights
from convrec.training.fsdp import gather_weights, reduce_in_float32
from convrec.training.metrics_log import MetricsLog
from convrec.utils.distributed import is_first, is_sharded
from convrec.utils.progress import Progress


def make_trainer(
    inputs: TrainingInputs, folder: Path, metrics_log: MetricsLog, progress: Progress
) -> GRPOTrainer:
    """The algorithm's trainer; all algorithms share rewards, sampler and logging."""
    student, config, timer = inputs.student, inputs.config, StepTimer()
    settings = config.rank_grpo
    bf16 = config.model.bf16 and has_bf16() and not is_small(student.model)
    if bf16 and not torch.cuda.is_available():
        student.model.set_attn_implementation("eager")  # the fused kernel's bf16 backward is slow
    scorer = ListScorer(
        inputs.index,
        config.list_length,
        parse_reward(settings.reward),
        years=config.recommend.years,
        line_format=config.line_format,
    )
    if settings.vllm == "server" and is_first():
        check_server(config, student.model.config, timeout=SERVER_TIMEOUT)
    rollout = VllmRollout() if settings.vllm else make_rollout(inputs)
    options: dict[str, Any] = {
        "model": student.model,
        "reward_funcs": timer.timed("scoring", scorer),
        "args": trainer_arguments(config, folder, inputs.seed, bf16=bf16),
        "train_dataset": inputs.data,
        "processing_class": student.tokenizer,
        "callbacks": [StepMetricsCallback(progress, metrics_log, timer)],
        "peft_config": lora_config(settings.lora, student.model, "rank_grpo"),
        "rollout_func": timer.timed("sampling", rollout),
    }
    algorithm = ALGORITHMS[settings.algorithm]
    if algorithm.rewards_ranks:
        options |= {
            "rank_reward": timer.timed("scoring", scorer.rank_rewards),
            "rank_faults": timer.timed("scoring", scorer.rank_faults),
            "n_ranks": config.list_length,
            "shaping": Shaping(settings.overflow, settings.exact, settings.early, settings.fault),
            "reduction": settings.reduction,
        }
    is_constrained = settings.sampler == "constrained"
    trainer_class = algorithm.constrained_trainer if is_constrained else algorithm.trainer
    with warnings.catch_warnings(), one_line_errors(settings):
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
        trainer = trainer_class(**options)
    trainer.rollout = rollout
    if settings.vllm:
        stop_at_eos(trainer)
    reduce_in_float32(trainer)
    trainer.remove_callback(PrinterCallback)
    return trainer


def make_rollout(inputs: TrainingInputs) -> Rollout:
    """A rollout with the training's sampler and temperature."""
    return Rollout(inputs.config.rank_grpo.temperature, inputs.sampler)


def make_validation(
    inputs: TrainingInputs, trainer: GRPOTrainer, metrics_log: MetricsLog
) -> Validation | None:
    """The validation callback; None if it is disabled or there are no samples."""
    if not inputs.validation:
        return None
    tokenizer, rollout = inputs.student.tokenizer, make_rollout(inputs)
    prompts = [sample["prompt"] for sample in inputs.validation]
    count, rank = trainer.accelerator.num_processes, trainer.accelerator.process_index
    local = slice(len(prompts) * rank // count, len(prompts) * (rank + 1) // count)

    def generate() -> list[str]:
        texts: list[str] = []
        if prompts[local]:  # there may be more processes than prompts
            draws = uniform_draws(len(prompts), inputs.sampler.max_tokens, inputs.seed)
            ids = rollout(prompts[local], trainer, draws[local])["completion_ids"]
            texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        return gather_object(texts)

    def generate_with_vllm() -> list[str]:
        return sample_texts(trainer, prompts)

    return Validation(
        inputs.validation,
        generate_with_vllm if inputs.config.rank_grpo.vllm else generate,
        inputs.index,
        inputs.config,
        metrics_log,
        trained_weights=(lambda model: gather_weights(trainer))
        if is_sharded()
        else trained_weights,
    )
