"""TRL's arguments, which all algorithms share except for what they override."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig

from convrec.config import Config
from convrec.errors import ConfigError
from convrec.stages.rank_grpo.algorithms import ALGORITHMS
from convrec.stages.rank_grpo.vllm import vllm_arguments
from convrec.training.batch_split import BatchSplit, configured_split
from convrec.training.launch_settings import uneven_lists_error
from convrec.training.optimization import optimization_arguments
from convrec.utils.distributed import process_count

RECOMPUTE = (
    "activation_checkpointing"
    if "activation_checkpointing" in GRPOConfig.__dataclass_fields__
    else "gradient_checkpointing"
)
"""Argument that recomputes activations; vLLM needs a transformers that has its older name."""


def trainer_arguments(
    config: Config,
    folder: Path,
    seed: int,
    *,
    split: BatchSplit | None = None,
    bf16: bool = False,
    assume_vllm: bool = False,
) -> GRPOConfig:
    """TRL's arguments. TRL itself saves, reports and shuffles nothing; `folder` stays empty.

    A step has `prompts_per_step` × `group_size` lists, whatever the number of processes. All of
    them are generated at once; `split` says how many go through the model at once, by default those
    of `rank_grpo.micro_batch`. With `assume_vllm`, vLLM need not be installed. Raises ConfigError
    if lists cannot be split, TrainingError if vLLM is configured and missing.
    """
    settings, processes = config.rank_grpo, process_count()
    lists = lists_of_process(config)
    if split is None:
        split = configured_split(config, "rank_grpo", lists)
    algorithm = {
        "importance_sampling_level": "token",
        "scale_rewards": "group",
        **ALGORITHMS[settings.algorithm].arguments(settings),
    }
    return GRPOConfig(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=split.micro_batch,
        gradient_accumulation_steps=split.passes,
        steps_per_generation=split.passes,
        num_generations=settings.group_size,
        num_iterations=settings.iterations,
        model_init_kwargs=_reference_arguments(config),
        temperature=settings.temperature,
        max_completion_length=config.model.max_completion_tokens,
        beta=settings.beta,
        use_bias_correction_kl=False,
        epsilon=settings.epsilon_low,
        epsilon_high=settings.epsilon_high,
        bf16=bf16,
        **{RECOMPUTE: split.recompute},
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        seed=seed,
        shuffle_dataset=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **optimization_arguments(settings, settings.steps),
        **vllm_arguments(config, processes, assume_vllm=assume_vllm),
        **algorithm,
    )


def lists_of_process(config: Config) -> int:
    """The lists that each process has in a step; raises ConfigError if they cannot be shared."""
    settings, processes = config.rank_grpo, process_count()
    lists = settings.prompts_per_step * settings.group_size
    if lists % processes:
        raise ConfigError(uneven_lists_error(config, processes))
    return lists // processes


def _reference_arguments(config: Config) -> dict[str, Any] | None:
    """How TRL loads the reference model; it has none with adapters, which it turns off instead."""
    return {"dtype": "bfloat16"} if config.model.weights == "bfloat16" else None
