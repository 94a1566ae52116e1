"""TRL's arguments, which all algorithms share except for what they override."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig

from convrec.config import Config, RankGrpo
from convrec.errors import ConfigError, TrainingError
from convrec.stages.rank_grpo.algorithms import ALGORITHMS
from convrec.training.launch_settings import uneven_lists_error
from convrec.utils.distributed import process_count


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
        activation_checkpointing=False,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        seed=seed,
        shuffle_dataset=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **_vllm_arguments(settings, assume_vllm),
        **algorithm,
    )


def _vllm_arguments(settings: RankGrpo, assume_vllm: bool) -> dict[str, Any]:
    """TRL's vLLM arguments; raises TrainingError if vLLM is configured and not installed."""
    if not settings.vllm:
        return {}
    if not assume_vllm and find_spec("vllm") is None:
        raise TrainingError(
            f"rank_grpo.vllm={settings.vllm} needs the package vllm, which is not installed; "
            "install it on a machine with a GPU, or leave rank_grpo.vllm empty"
        )
    return {
        "use_vllm": True,
        "vllm_mode": settings.vllm,
        "vllm_server_base_url": settings.vllm_url or None,
    }
