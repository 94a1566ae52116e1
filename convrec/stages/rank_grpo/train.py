"""Reinforcement learning from a checkpoint: Rank-GRPO, or a TRL baseline in the same harness.

Every algorithm sees the same prompts, sampler, scores and optimizer (`settings` has what differs),
is watched alike, and keeps its best weights by NDCG on validation. A run that was killed goes on
from its last checkpoint, bit by bit as if it had not been.

Several processes (`accelerate launch`) share the lists of a step and those of a look at validation;
the first writes. What they sample and learn is what one process would (`several`).
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOTrainer

from convrec.config import Config, RankGrpo
from convrec.errors import TrainingError
from convrec.metrics.rewards import reward_named
from convrec.models.generation.multinomial import uniforms
from convrec.models.generation.samplers import Sampler, sampler_for
from convrec.models.hub import quiet
from convrec.models.load import Student, has_bf16, is_small, keep_freed_memory, load_checkpoint
from convrec.models.prompts import encode_prompt, student_prompt
from convrec.models.save import lora_config, out_of_memory, save_student
from convrec.rank_grpo.rollout import Rollout
from convrec.rank_grpo.trainer import RankGRPOTrainer, Shaping
from convrec.stages.rank_grpo.algorithms import trainer_arguments
from convrec.stages.rank_grpo.callbacks import StepMetricsCallback, StepTimer
from convrec.stages.rank_grpo.constrained import ConstrainedGRPOTrainer, ConstrainedRankGRPOTrainer
from convrec.stages.rank_grpo.reward_function import ListScorer
from convrec.stages.rank_grpo.rng_sync import SyncRngCallback
from convrec.stages.rank_grpo.validation import BEST, Validation
from convrec.titles.index import TitleIndex
from convrec.training.checkpoint import Checkpoints, latest, step_of
from convrec.training.metrics_log import MetricsLog
from convrec.utils.distributed import is_first, process_count
from convrec.utils.progress import Progress
from convrec.utils.workspace import workspace

TRAINERS: dict[tuple[bool, bool], type[GRPOTrainer]] = {
    (False, False): GRPOTrainer,
    (False, True): ConstrainedGRPOTrainer,
    (True, False): RankGRPOTrainer,
    (True, True): ConstrainedRankGRPOTrainer,
}
"""By whether the ranks are rewarded, and whether lists are sampled under a mask."""

Figures = dict[str, float | int | str]
Rows = Sequence[Mapping[str, Any]]
"""Rows of the conversations table."""


@dataclass(frozen=True)
class Task:
    """What is trained, on what, and how lists are written."""

    student: Student
    data: Dataset
    held_out: Rows
    sampler: Sampler
    index: TitleIndex
    config: Config
    seed: int


def train_rank_grpo(
    checkpoint: Path,
    samples: Rows,
    index: TitleIndex,
    config: Config,
    out: Path,
    seed: int,
    progress: Progress,
    *,
    validation: Rows = (),
    lines: Iterable[str] = (),
    working_folder: Path | None = None,
) -> tuple[Figures, pl.DataFrame]:
    """Train `rank_grpo.steps` steps from the folder `checkpoint`, and save the model in `out`.

    Without `validation` samples with ground truth the last weights are saved, else the best ones.
    `lines` are the catalog as lists have it; only the constrained sampler needs them. A run that
    is given the `working_folder` of a killed one goes on where that one was last saved. Returns
    the figures of the run and its curves (step, name, value). Raises TrainingError where there is
    too little to train on, where the loss is no longer finite, or where memory does not suffice.
    """
    started = time.monotonic()
    keep_freed_memory()
    task = make_task(load_checkpoint(checkpoint), samples, validation, lines, index, config, seed)
    with workspace(working_folder) as folder, quiet():
        resumed = latest(folder)
        record = MetricsLog(folder, step_of(resumed), writes=is_first())
        trainer = make_trainer(task, folder, record, progress)
        held_out = _validation(task, trainer, record)
        if held_out is not None:
            trainer.add_callback(held_out)
        if process_count() > 1:
            trainer.add_callback(SyncRngCallback(trainer.rollout))
        saved = working_folder is not None or process_count() == 1
        every = config.rank_grpo.save_every * saved
        trainer.add_callback(Checkpoints(folder, every=every, whole=config.rank_grpo.iterations))
        _train(trainer, resumed, config.rank_grpo)
        model = trainer.accelerator.unwrap_model(trainer.model)
        steps = trainer.state.global_step
        if is_first():
            if held_out is not None:
                held_out.restore(model)
            out.mkdir(parents=True, exist_ok=True)
            model = save_student(Student(model, task.student.tokenizer), out)
            record.copy_to(out)
        figures = _figures(record, held_out, model, steps, time.monotonic() - started)
        if resumed is not None:
            figures["resumed_from_step"] = step_of(resumed)
        return figures, record.frame()


def make_task(
    student: Student,
    samples: Rows,
    validation: Rows,
    lines: Iterable[str],
    index: TitleIndex,
    config: Config,
    seed: int,
) -> Task:
    """The samples as tokens, and the sampler that the settings name.

    Raises TrainingError where there are too few samples for a step.
    """
    settings, tokenizer = config.rank_grpo, student.tokenizer
    data = training_data(samples, tokenizer, config, seed)
    known = [sample for sample in validation if sample["ground_truth"]] * bool(settings.eval_every)
    held_out = [
        {**sample, "prompt": _prompt_ids(sample, tokenizer, config)}
        for sample in known[: settings.eval_samples]
    ]
    sampler = sampler_for(settings.sampler, tokenizer, config, lines=lines, rows=[*data, *held_out])
    return Task(student, data, held_out, sampler, index, config, seed)


def training_data(samples: Rows, tokenizer: Any, config: Config, seed: int) -> Dataset:
    """Prompts as token ids, with what is seen and what is true of each, in the order of training.

    The samples are shuffled again and again until there are enough for all steps, as TRL would
    epoch by epoch: one long epoch is in the same place after a crash as before it.
    """
    settings = config.rank_grpo
    rows = [
        {
            "prompt": _prompt_ids(sample, tokenizer, config),
            "seen": list(sample["seen"] or ()),
            "ground_truth": list(sample["ground_truth"]),
        }
        for sample in samples
        if sample["ground_truth"]
    ]
    whole = len(rows) - len(rows) % settings.prompts_per_step
    if not whole:
        raise TrainingError(
            f"there are {len(rows)} training samples with ground truth, and a step needs "
            f"rank_grpo.prompts_per_step={settings.prompts_per_step}; ingest more, or lower that "
            "number"
        )
    generator = torch.Generator().manual_seed(seed)
    needed = math.ceil(settings.steps / settings.iterations) * settings.prompts_per_step
    order: list[int] = []
    while len(order) < needed:
        order += torch.randperm(len(rows), generator=generator).tolist()[:whole]
    return Dataset.from_list(rows).select(order[:needed])


def _rollout(task: Task) -> Rollout:
    return Rollout(task.config.rank_grpo.temperature, task.sampler)


def _prompt_ids(sample: Mapping[str, Any], tokenizer: Any, config: Config) -> list[int]:
    prompt = student_prompt(sample["conversation"], sample["prompt"], config)
    return encode_prompt(tokenizer, prompt, config.model.max_prompt_tokens)


def make_trainer(task: Task, folder: Path, record: MetricsLog, progress: Progress) -> GRPOTrainer:
    """The algorithm's trainer, watched; the samples' scores and the sampler are everybody's."""
    student, config, clock = task.student, task.config, StepTimer()
    settings = config.rank_grpo
    bf16 = config.model.bf16 and has_bf16() and not is_small(student.model)
    if bf16 and not torch.cuda.is_available():
        student.model.set_attn_implementation("eager")  # the fused kernel's bf16 backward is slow
    scorer = ListScorer(
        task.index,
        config.list_length,
        reward_named(settings.reward),
        years=config.recommend.years,
        form=config.line_format,
    )
    rollout = _rollout(task)
    options: dict[str, Any] = {
        "model": student.model,
        "reward_funcs": clock.timed("scoring", scorer),
        "args": trainer_arguments(config, folder, task.seed, bf16=bf16),
        "train_dataset": task.data,
        "processing_class": student.tokenizer,
        "callbacks": [StepMetricsCallback(progress, record, clock)],
        "peft_config": lora_config(settings.lora),
        "rollout_func": None if settings.vllm else clock.timed("sampling", rollout),
    }
    if settings.algorithm == "rank_grpo":
        options |= {
            "rank_reward": clock.timed("scoring", scorer.rank_rewards),
            "rank_faults": clock.timed("scoring", scorer.rank_faults),
            "n_ranks": config.list_length,
            "shaping": Shaping(settings.overflow, settings.exact, settings.early, settings.fault),
            "reduction": settings.reduction,
        }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
        trainer = TRAINERS[settings.algorithm == "rank_grpo", settings.sampler == "constrained"](
            **options
        )
    trainer.rollout = rollout
    trainer.remove_callback(PrinterCallback)
    return trainer


def _validation(task: Task, trainer: GRPOTrainer, record: MetricsLog) -> Validation | None:
    """The look at validation; None where it is switched off or there is nothing to look at."""
    if not task.held_out:
        return None
    tokenizer, rollout = task.student.tokenizer, _rollout(task)
    prompts = [sample["prompt"] for sample in task.held_out]
    count, rank = trainer.accelerator.num_processes, trainer.accelerator.process_index
    mine = slice(len(prompts) * rank // count, len(prompts) * (rank + 1) // count)

    def answer() -> list[str]:
        texts: list[str] = []
        if prompts[mine]:  # there may be more processes than prompts
            draws = uniforms(len(prompts), task.sampler.most_tokens, task.seed)
            written = rollout(prompts[mine], trainer, draws[mine])["completion_ids"]
            texts = tokenizer.batch_decode(written, skip_special_tokens=True)
        return gather_object(texts)

    return Validation(task.held_out, answer, task.index, task.config, record)


def _train(trainer: GRPOTrainer, resumed: Path | None, settings: RankGrpo) -> None:
    try:
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise TrainingError(
            f"not enough memory for {settings.prompts_per_step} prompts of {settings.group_size} "
            f"lists; try --set {_smaller(settings)}, or a lower model.max_completion_tokens"
        ) from error


def _smaller(settings: RankGrpo) -> str:
    """The setting of the next smaller step."""
    if settings.prompts_per_step > 1:
        return f"rank_grpo.prompts_per_step={settings.prompts_per_step // 2}"
    return f"rank_grpo.group_size={max(2, settings.group_size // 2)}"


def _figures(
    record: MetricsLog, held_out: Validation | None, model: Any, steps: int, seconds: float
) -> Figures:
    """The run in a few numbers: first and last tenth of the steps, the best step, and the time."""
    tenth = max(1, steps // 10)
    figures: Figures = {
        "parameters": model.num_parameters(),
        "steps": steps,
        "seconds": round(seconds, 1),
    }
    for part in ("sampling", "scoring", "loss"):
        figures[f"seconds_{part}"] = round(steps * record.mean(f"seconds_{part}", 1, steps), 1)
    for name in ("reward", "in_catalog", "repeats", "exact_n"):
        figures[f"{name}_first"] = round(record.mean(name, 1, tenth), 4)
        figures[f"{name}_last"] = round(record.mean(name, steps - tenth + 1, steps), 4)
    if held_out is not None:
        looks = record.curve("validation_seconds")
        figures["seconds_validation"] = round(sum(value for _, value in looks), 1)
        figures["best_step"], best = held_out.best
        figures[f"validation_{BEST}_first"] = round(held_out.looks[0][1], 4)
        figures[f"validation_{BEST}_best"] = round(best, 4)
    return figures
