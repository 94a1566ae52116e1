"""What TRL is told for each algorithm: one harness, in which only ALGORITHMS differs.

The baselines are TRL's own trainers with NDCG@N as the reward of a list.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig

from convrec.config import Config, RankGrpo
from convrec.errors import ConfigError, TrainingError
from convrec.rank_grpo.trainer import LOSS_TYPE
from convrec.training.parallel import uneven
from convrec.utils.distributed import process_count

ALGORITHMS: dict[str, dict[str, str]] = {
    "rank_grpo": {},
    "grpo": {"loss_type": "grpo"},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence"},
    "dr_grpo": {"loss_type": "dr_grpo", "scale_rewards": "none"},
    "dapo": {"loss_type": "dapo"},
}
"""TRL settings of each algorithm; the loss type of `rank_grpo` follows from its reduction."""


def trainer_arguments(
    config: Config, workspace: Path, seed: int, *, bf16: bool = False, installed: bool = False
) -> GRPOConfig:
    """TRL's arguments; TRL saves, reports and draws nothing, and `workspace` stays empty.

    `installed` takes it as given that vLLM is there. A step has `prompts_per_step` × `group_size`
    lists whatever the number of processes. Raises ConfigError where they cannot share them evenly.
    """
    settings = config.rank_grpo
    lists, processes = settings.prompts_per_step * settings.group_size, process_count()
    if lists % processes:
        raise ConfigError(uneven(config, processes))
    algorithm = {
        "loss_type": LOSS_TYPE[settings.reduction],
        "importance_sampling_level": "token",
        "scale_rewards": "group",
        **ALGORITHMS[settings.algorithm],
    }
    return GRPOConfig(
        output_dir=str(workspace),
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
        **_vllm(settings, installed),
        **algorithm,
    )


def _vllm(settings: RankGrpo, installed: bool) -> dict[str, Any]:
    """TRL's vLLM settings; raises TrainingError where vLLM is asked for and not installed."""
    if not settings.vllm:
        return {}
    if not installed and find_spec("vllm") is None:
        raise TrainingError(
            f"rank_grpo.vllm={settings.vllm} needs the package vllm, which is not installed; "
            "install it on a machine with a GPU, or leave rank_grpo.vllm empty"
        )
    return {
        "use_vllm": True,
        "vllm_mode": settings.vllm,
        "vllm_server_base_url": settings.vllm_url or None,
    }
