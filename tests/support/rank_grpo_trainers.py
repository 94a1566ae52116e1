"""Trainers whose lists are random tokens instead of samples of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from convrec.models.load import Student, load_checkpoint
from convrec.rank_grpo.trainer import LOSS_TYPE, RankGRPOTrainer

N, GROUP, PROMPTS, LENGTH = 4, 4, 2, 10
PROMPT_TEXTS = ["something like Heat or Alien", "films with Big"]


class RandomRollout:
    """Lists of random tokens, and with `ends` also of different lengths.

    With `ends`, one list ends early, one after exactly N lines, and one goes past rank N.
    """

    def __init__(self, ends: bool) -> None:
        self.ends = ends

    def __call__(self, prompts: list[list[int]], trainer: Any) -> dict[str, Any]:
        tokenizer = trainer.processing_class
        newline, end = tokenizer.encode("\n")[0], tokenizer.eos_token_id
        generator = torch.Generator().manual_seed(trainer._step)
        tokens = torch.randint(10, 250, (len(prompts), LENGTH), generator=generator)
        tokens[tokens == newline] = 10
        tokens[:, 3] = newline
        tokens[::2, 6] = newline
        lists: list[list[int]] = tokens.tolist()
        if self.ends:
            lists[0][6] = lists[2][6] = 10
            lists[0][1:8:2] = [newline] * 4
            lists[0][8] = newline
            lists[1] = [*lists[1][:7], end]
            lists[2][1:6:2] = [newline] * 3
            lists[2] = [*lists[2][:8], end]
        return {"prompt_ids": prompts, "completion_ids": lists, "logprobs": None}


def scalar_reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [sum(ids) % 7 / 7 for ids in completion_ids]


def grpo_config(folder: Path, loss_type: str, **more: Any) -> GRPOConfig:
    values: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": 3,
        "per_device_train_batch_size": GROUP * PROMPTS,
        "num_generations": GROUP,
        "max_completion_length": LENGTH,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "beta": 1e-3,
        "use_bias_correction_kl": False,
        "epsilon": 0.06,
        "epsilon_high": 0.08,
        "loss_type": loss_type,
        "bf16": False,
        "activation_checkpointing": False,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_steps": 1,
        "seed": 3,
    }
    return GRPOConfig(**{**values, **more})


def trainer_options(student: Student, args: GRPOConfig, ends: bool = False) -> dict[str, Any]:
    prompts = [student.tokenizer.encode(text)[:6] for text in PROMPT_TEXTS] * 8
    return {
        "model": student.model.double(),
        "reward_funcs": scalar_reward,
        "args": args,
        "train_dataset": Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
        "processing_class": student.tokenizer,
        "rollout_func": RandomRollout(ends),
    }


def rank_trainer(
    checkpoint: Path, folder: Path, reduction: Any, rank_reward: Any, **more: Any
) -> RankGRPOTrainer:
    student = load_checkpoint(checkpoint)
    args = grpo_config(folder, LOSS_TYPE[reduction], **more)
    return RankGRPOTrainer(
        **trainer_options(student, args, ends=True),
        rank_reward=rank_reward,
        n_ranks=N,
        reduction=reduction,
    )


def train(trainer: GRPOTrainer) -> None:
    """Train with a fixed order of rows, so that sums round the same way."""
    torch.manual_seed(4)
    trainer.train()


def weights(trainer: GRPOTrainer) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()])


def varied_rank_reward(text: str, row: dict[str, Any]) -> list[float]:
    return [float(number % 5) for number in (len(text), sum(map(ord, text)), 3 * len(text), 2)]


def generate_batch(trainer: RankGRPOTrainer) -> dict[str, Any]:
    prompts = [row["prompt"] for row in trainer.train_dataset.select(range(PROMPTS))]
    rows = [{"prompt": prompt} for prompt in prompts for _ in range(GROUP)]
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer._generate_and_score_completions(rows)


def logps_of(trainer: RankGRPOTrainer, batch: dict[str, Any]) -> Tensor:
    """(B, T) log-probabilities of the completions, with gradient."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    logps: Tensor = trainer._get_per_token_logps_and_entropies(
        trainer.model, ids, mask, batch["completion_ids"].size(1)
    )[0]
    return logps


def gradient(trainer: RankGRPOTrainer, loss: Tensor) -> Tensor:
    """The gradient of a loss, all weights in a row."""
    trainer.model.zero_grad()
    loss.backward()
    return torch.cat([weight.grad.flatten() for weight in trainer.model.parameters()])
