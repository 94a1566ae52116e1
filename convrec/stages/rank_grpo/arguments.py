"""TRL's arguments, which all algorithms share except for what they override."""

from __future__ import annotations

from pathlib import Path

import torch
from trl import GRPOConfig

from convrec.config import Config
from convrec.errors import ConfigError
from convrec.stages.rank_grpo.algorithms import ALGORITHMS
from convrec.stages.rank_grpo.vllm import vllm_arguments
from convrec.training.launch_settings import uneven_lists_error
from convrec.utils.distributed import process_count

RECOMPUTE = (
    "activation_checkpointing"
    if "activation_checkpointing" in GRPOConfig.__dataclass_fields__
    else "gradient_checkpointing"
)
"""Argument that recomputes activations; vLLM needs a transformers that has its older name."""


def trainer_arguments(
    config: Config, folder: Path, seed: int, *, bf16: bool = False, assume_vllm: bool = False
) -> GRPOConfig:
    """TRL's arguments. TRL itself saves, reports and shuffles nothing; `folder` stays empty.

    A step has `prompts_per_step` × `group_size` lists, whatever the number of processes. With
    `assume_vllm`, vLLM need not be installed. Raises ConfigError if the processes cannot share the
    lists evenly, TrainingError if vLLM is configured and missing.
    """
    settings = config.rank_grpo
    lists, processes = settings.prompts_per_step * settings.group_size, process_count()
    if lists % processes:
        raise ConfigError(uneven_lists_error(config, processes))
    algorithm = {
        "importance_sampling_level": "token",
        "scale_rewards": "group",
        **ALGORITHMS[settings.algorithm].arguments(settings),
    }
    return GRPOConfig(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=lists // processes,
        num_generations=settings.group_size,
        num_iterations=settings.iterations,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        optim="adamw_torch_fused",
        temperature=settings.temperature,
        max_completion_length=config.model.max_completion_tokens,
        beta=settings.beta,
        use_bias_correction_kl=False,
        epsilon=settings.epsilon_low,
        epsilon_high=settings.epsilon_high,
        bf16=bf16,
        **{RECOMPUTE: False},
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        seed=seed,
        shuffle_dataset=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **vllm_arguments(config, processes, assume_vllm=assume_vllm),
        **algorithm,
    )
