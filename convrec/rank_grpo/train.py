"""Reinforcement learning from a checkpoint: Rank-GRPO, or a TRL baseline in the same harness.

Every algorithm sees the same prompts, sampler, scores and optimizer (`settings` has what differs).
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOTrainer

from convrec.catalog.index import TitleIndex
from convrec.config import Config
from convrec.errors import TrainingError
from convrec.rank_grpo.rewards import reward_named
from convrec.rank_grpo.rollout import Rollout
from convrec.rank_grpo.scoring import ListScorer
from convrec.rank_grpo.settings import trainer_arguments
from convrec.rank_grpo.trainer import RankGRPOTrainer, Shaping
from convrec.rank_grpo.watch import Progress, Watch
from convrec.sft.prompts import encode_prompt, student_prompt
from convrec.sft.student import (
    Student,
    has_bf16,
    is_small,
    keep_freed_memory,
    load_checkpoint,
    quiet,
)
from convrec.sft.train import lora_config, out_of_memory, save_student

Figures = dict[str, float | int | str]


def train_rank_grpo(
    checkpoint: Path,
    samples: Sequence[Mapping[str, Any]],
    index: TitleIndex,
    config: Config,
    out: Path,
    seed: int,
    progress: Progress,
) -> tuple[Figures, pl.DataFrame]:
    """Train `rank_grpo.steps` steps from the folder `checkpoint`, and save the model in `out`.

    `samples` are rows of the conversations table. Returns the figures of the run and its curves
    (step, name, value). Raises TrainingError where there is too little to train on, where the
    loss is no longer finite, or where memory does not suffice.
    """
    settings = config.rank_grpo
    started = time.monotonic()
    keep_freed_memory()
    student = load_checkpoint(checkpoint)
    dataset = _dataset(samples, student.tokenizer, config)
    rollout = Rollout(config.model.max_completion_tokens, settings.temperature)
    watch = Watch(progress, settings.steps, rollout)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".training-") as workspace, quiet():
        trainer = _trainer(student, dataset, index, config, Path(workspace), seed, watch)
        try:
            trainer.train()
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise TrainingError(
                f"not enough memory for {settings.prompts_per_step} prompts of "
                f"{settings.group_size} lists; lower rank_grpo.prompts_per_step, "
                "rank_grpo.group_size or model.max_completion_tokens"
            ) from error
        trained = trainer.accelerator.unwrap_model(trainer.model)
        model = save_student(Student(trained, student.tokenizer), out)
    return _figures(watch, model, settings.steps, time.monotonic() - started), watch.curves()


def _dataset(samples: Sequence[Mapping[str, Any]], tokenizer: Any, config: Config) -> Dataset:
    """Prompts as token ids, with what is seen and what is true of each."""
    rows = [
        {
            "prompt": encode_prompt(
                tokenizer,
                student_prompt(sample["conversation"], sample["prompt"], config),
                config.model.max_prompt_tokens,
            ),
            "seen": list(sample["seen"] or ()),
            "ground_truth": list(sample["ground_truth"]),
        }
        for sample in samples
        if sample["ground_truth"]
    ]
    needed = config.rank_grpo.prompts_per_step
    if len(rows) < needed:
        raise TrainingError(
            f"there are {len(rows)} training samples with ground truth, and a step needs "
            f"rank_grpo.prompts_per_step={needed}; ingest more, or lower that number"
        )
    return Dataset.from_list(rows)


def _trainer(
    student: Student,
    dataset: Dataset,
    index: TitleIndex,
    config: Config,
    workspace: Path,
    seed: int,
    watch: Watch,
) -> GRPOTrainer:
    settings = config.rank_grpo
    bf16 = config.model.bf16 and has_bf16() and not is_small(student.model)
    if bf16 and not torch.cuda.is_available():
        student.model.set_attn_implementation("eager")  # the fused kernel's bf16 backward is slow
    scorer = ListScorer(
        index,
        config.list_length,
        reward_named(settings.reward),
        years=config.recommend.years,
        form=config.line_format,
    )
    common: dict[str, Any] = {
        "model": student.model,
        "reward_funcs": scorer,
        "args": trainer_arguments(config, workspace, seed, bf16=bf16),
        "train_dataset": dataset,
        "processing_class": student.tokenizer,
        "callbacks": [watch],
        "peft_config": lora_config(settings.lora),
        "rollout_func": watch.rollout,
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
        if settings.algorithm == "rank_grpo":
            trainer: GRPOTrainer = RankGRPOTrainer(
                rank_reward=scorer.rank_rewards,
                n_ranks=config.list_length,
                shaping=Shaping(settings.overflow, settings.exact, settings.early),
                reduction=settings.reduction,
                **common,
            )
        else:
            trainer = GRPOTrainer(**common)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _figures(watch: Watch, model: Any, steps: int, seconds: float) -> Figures:
    """The run in a few numbers: the first and the last tenth of the steps, and the time."""
    tenth = max(1, steps // 10)
    figures: Figures = {
        "parameters": model.num_parameters(),
        "steps": steps,
        "seconds": round(seconds, 1),
        "seconds_sampling": round(steps * watch.mean("seconds_sampling", 1, steps), 1),
    }
    for name in ("reward", "in_catalog", "repeats", "exact_n"):
        figures[f"{name}_first"] = round(watch.mean(name, 1, tenth), 4)
        figures[f"{name}_last"] = round(watch.mean(name, steps - tenth + 1, steps), 4)
    return figures
