"""Reinforcement learning from a checkpoint: Rank-GRPO, or a TRL baseline in the same harness.

All algorithms share prompts, sampler, rewards, optimizer and logging (`algorithms` lists what
differs), and keep their best weights by NDCG on validation. A killed run resumes from its last
checkpoint and ends with the same bytes as an undisturbed run.

Several processes (`accelerate launch`) share the lists of a step and those of an evaluation; the
first one writes. They sample and learn what a single process would (`rng_sync`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
from trl import GRPOTrainer

from convrec.config import Config, RankGrpo
from convrec.errors import TrainingError
from convrec.models.hardware import is_out_of_memory, keep_freed_memory
from convrec.models.load import Student, load_checkpoint
from convrec.models.progress_bars import hide_progress_bars
from convrec.models.save import save_student
from convrec.stages.rank_grpo.inputs import Rows, prepare_inputs
from convrec.stages.rank_grpo.rng_sync import SyncRngCallback
from convrec.stages.rank_grpo.trainers import make_trainer, make_validation
from convrec.stages.rank_grpo.validation import BEST_METRIC, Validation
from convrec.titles.index import TitleIndex
from convrec.training.checkpoint import CheckpointCallback, latest_checkpoint, step_of
from convrec.training.job import Figures
from convrec.training.metrics_log import MetricsLog
from convrec.utils.distributed import is_first, process_count
from convrec.utils.progress import Progress
from convrec.utils.workspace import workspace


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
    """Train the model in `checkpoint` for `rank_grpo.steps` steps and save it to `out`.

    Args:
        checkpoint: Folder of the initial model.
        samples: Training samples; those without ground truth are skipped.
        index: Title index of the catalog.
        config: All settings.
        out: Folder to write the model to.
        seed: Seed of the order of the data and of sampling.
        progress: Called after each step.
        validation: Validation samples; the best weights by NDCG are saved. Without samples that
            have ground truth, the last weights are saved.
        lines: The catalog's lines, for the constrained sampler only.
        working_folder: Folder to resume from, and to save to.

    Returns:
        The figures of the run, and its curves (step, name, value).

    Raises:
        TrainingError: There is too little data, the loss is not finite, or memory runs out.
    """
    started = time.monotonic()
    keep_freed_memory()
    student = load_checkpoint(checkpoint)
    inputs = prepare_inputs(student, samples, validation, lines, index, config, seed)
    with workspace(working_folder) as folder, hide_progress_bars():
        resumed = latest_checkpoint(folder)
        metrics_log = MetricsLog(folder, step_of(resumed), is_writer=is_first())
        trainer = make_trainer(inputs, folder, metrics_log, progress)
        validator = make_validation(inputs, trainer, metrics_log)
        if validator is not None:
            trainer.add_callback(validator)
        if process_count() > 1:
            trainer.add_callback(SyncRngCallback(trainer.rollout))
        can_save = working_folder is not None or process_count() == 1
        every = config.rank_grpo.save_every if can_save else 0
        trainer.add_callback(
            CheckpointCallback(folder, every=every, boundary=config.rank_grpo.iterations)
        )
        _run(trainer, resumed, config.rank_grpo)
        model = trainer.accelerator.unwrap_model(trainer.model)
        steps = trainer.state.global_step
        if is_first():
            if validator is not None:
                validator.restore_best(model)
            out.mkdir(parents=True, exist_ok=True)
            model = save_student(Student(model, student.tokenizer), out)
            metrics_log.copy_to(out)
        figures = _figures(metrics_log, validator, model, steps, time.monotonic() - started)
        if resumed is not None:
            figures["resumed_from_step"] = step_of(resumed)
        return figures, metrics_log.frame()


def _run(trainer: GRPOTrainer, resumed: Path | None, settings: RankGrpo) -> None:
    try:
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"training ran out of memory with {settings.prompts_per_step} prompts of "
            f"{settings.group_size} lists per step; try --set {_smaller_step(settings)}, or a "
            "lower model.max_completion_tokens"
        ) from error


def _smaller_step(settings: RankGrpo) -> str:
    """The override that halves a step."""
    if settings.prompts_per_step > 1:
        return f"rank_grpo.prompts_per_step={settings.prompts_per_step // 2}"
    return f"rank_grpo.group_size={max(2, settings.group_size // 2)}"


def _figures(
    metrics_log: MetricsLog, validator: Validation | None, model: Any, steps: int, seconds: float
) -> Figures:
    """Size and time of the run, metrics of its first and last tenth, and its best evaluation."""
    tenth = max(1, steps // 10)
    figures: Figures = {
        "parameters": model.num_parameters(),
        "steps": steps,
        "seconds": round(seconds, 1),
    }
    for part in ("sampling", "scoring", "loss"):
        mean = metrics_log.mean(f"seconds_{part}", 1, steps)
        figures[f"seconds_{part}"] = round(steps * mean, 1)
    for name in ("reward", "in_catalog", "repeats", "exact_n"):
        figures[f"{name}_first"] = round(metrics_log.mean(name, 1, tenth), 4)
        figures[f"{name}_last"] = round(metrics_log.mean(name, steps - tenth + 1, steps), 4)
    if validator is not None:
        times = metrics_log.curve("validation_seconds")
        figures["seconds_validation"] = round(sum(value for _, value in times), 1)
        figures["best_step"], best = validator.best
        figures[f"validation_{BEST_METRIC}_first"] = round(validator.evaluations[0][1], 4)
        figures[f"validation_{BEST_METRIC}_best"] = round(best, 4)
    return figures
