"""Reinforcement learning from a checkpoint: Rank-GRPO, or a TRL baseline in the same harness.

All algorithms share prompts, sampler, rewards, optimizer and logging (`algorithms` lists what
differs), and keep their best weights by NDCG on validation. Several processes share the lists of a
step and those of an evaluation, and learn what a single process would (`SyncRngCallback`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from trl import GRPOConfig

from convrec.config import Config, RankGrpo
from convrec.models.hardware import keep_freed_memory
from convrec.models.load import load_checkpoint
from convrec.models.progress_bars import hide_progress_bars
from convrec.stages.rank_grpo.arguments import RECOMPUTE
from convrec.stages.rank_grpo.callbacks import SyncRngCallback
from convrec.stages.rank_grpo.gate import MIXED_GROUPS, EqualRewardsWarning
from convrec.stages.rank_grpo.inputs import Rows, prepare_inputs
from convrec.stages.rank_grpo.make_trainer import make_gate, make_trainer, make_validation
from convrec.stages.rank_grpo.outcome import check_rewards
from convrec.stages.rank_grpo.validation import Validation
from convrec.stages.rank_grpo.vllm import one_line_errors, stop_vllm
from convrec.titles.index import TitleIndex
from convrec.training.best_weights import save_trained
from convrec.training.checkpoint import CheckpointCallback, run_trainer
from convrec.training.chunked_head import cpu_head
from convrec.training.job import Figures, TrainingResult
from convrec.training.memory.micro_batch import divisors
from convrec.training.metrics_log import MetricsLog
from convrec.training.tracking.callback import make_tracking
from convrec.training.tracking.run import NO_IDS, RunIds
from convrec.utils.distributed import can_checkpoint, is_first, process_count
from convrec.utils.progress import Progress
from convrec.utils.workspace import workspace

WARNED_SHARE = 0.01
"""Share of sampled lists that are cut, above which a training warns."""

_LOG = logging.getLogger(__name__)


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
    ids: RunIds = NO_IDS,
) -> TrainingResult:
    """Train the model in `checkpoint` for `rank_grpo.steps` steps and save it to `out`.

    Samples without ground truth are skipped. Without `validation` samples that have it, the last
    weights are saved instead of the best. `lines` are the catalog's, for the constrained sampler. A
    run that resumes from the `working_folder` of a killed one ends with the same bytes. Raises
    TrainingError if there is too little data, too few groups have mixed rewards, the loss is not
    finite, no list had a reward in at least `outcome.MIN_STEPS` steps, or memory runs out.
    """
    started, settings = time.monotonic(), config.rank_grpo
    keep_freed_memory()
    student = load_checkpoint(checkpoint)
    parameters = student.model.num_parameters()
    inputs = prepare_inputs(student, samples, validation, lines, index, config, seed)
    with workspace(working_folder) as folder, hide_progress_bars():
        can_save = process_count() == 1 or (working_folder is not None and can_checkpoint())
        checkpoints = CheckpointCallback(
            folder, every=settings.save_every if can_save else 0, boundary=settings.iterations
        )
        resumed_step = checkpoints.saved_step
        metrics_log = MetricsLog(folder, resumed_step, is_writer=is_first())
        trainer = make_trainer(inputs, folder, metrics_log, progress)
        tracking = make_tracking(config, "rank_grpo", ids, folder, resumed_step)
        tracking.attach(trainer, metrics_log)
        equal_rewards = EqualRewardsWarning()
        gate = make_gate(inputs, trainer, metrics_log)
        validator = make_validation(inputs, trainer, metrics_log)
        for callback in (equal_rewards, gate, validator):
            if callback is not None:
                trainer.add_callback(callback)
        if process_count() > 1:
            trainer.add_callback(SyncRngCallback(trainer.rollout))
        trainer.add_callback(checkpoints)
        with tracking, cpu_head(trainer.model), one_line_errors(settings):
            run_trainer(trainer, checkpoints, _memory_advice(settings, trainer.args))
        steps = trainer.state.global_step
        stop_vllm(trainer)
        unrewarded = check_rewards(metrics_log, steps)
        save_trained(trainer, validator and validator.kept, student.tokenizer, out)
        if is_first():
            metrics_log.copy_to(out)
        figures = {"parameters": parameters}
        figures |= _split_figures(trainer.args)
        figures |= _figures(metrics_log, validator, steps, time.monotonic() - started)
        figures |= _warning(equal_rewards.text, unrewarded, _cut_warning(metrics_log, steps))
        if resumed_step:
            figures["resumed_from_step"] = resumed_step
        figures |= tracking.figures()
        return figures, metrics_log.frame()


def _memory_advice(settings: RankGrpo, args: GRPOConfig) -> str:
    """What the step was, and the setting that takes less memory."""
    lists = args.per_device_train_batch_size
    if lists > 1:
        smaller = f"rank_grpo.micro_batch={divisors(lists)[1]}"
    elif not getattr(args, RECOMPUTE):
        smaller = "train.gradient_checkpointing=on"
    else:
        smaller = f"rank_grpo.group_size={max(2, settings.group_size // 2)}"
    return (
        f"{lists} of {settings.prompts_per_step} × {settings.group_size} lists at once; "
        f"try --set {smaller}, or a lower model.max_completion_tokens"
    )


def _split_figures(args: GRPOConfig) -> Figures:
    """How each process split its lists of a step."""
    return {
        "micro_batch": args.per_device_train_batch_size,
        "recompute": str(getattr(args, RECOMPUTE)).lower(),
    }


def _cut_warning(metrics_log: MetricsLog, steps: int) -> str:
    """A warning, also logged, if many of the lists reach `model.max_completion_tokens`."""
    share = metrics_log.mean("cut", 1, steps)
    if share <= WARNED_SHARE:
        return ""
    warning = (
        f"{share:.1%} of the sampled lists reached model.max_completion_tokens and lost their end; "
        "raise it"
    )
    if is_first():
        _LOG.warning("%s", warning)
    return warning


def _warning(*texts: str) -> Figures:
    """The figure of the warnings that there are."""
    text = ". ".join(filter(None, texts))
    return {"warning": text} if text else {}


def _figures(
    metrics_log: MetricsLog, validator: Validation | None, steps: int, seconds: float
) -> Figures:
    """Size and time of the run, metrics of its first and last tenth, and its best evaluation."""
    tenth = max(1, steps // 10)
    figures: Figures = {
        "steps": steps,
        "seconds": round(seconds, 1),
    }
    for part in ("sampling", "scoring", "loss"):
        mean = metrics_log.mean(f"seconds_{part}", 1, steps)
        figures[f"seconds_{part}"] = round(steps * mean, 1)
    for name in ("reward", "in_catalog", "repeats", "exact_n", "cut"):
        figures[f"{name}_first"] = round(metrics_log.mean(name, 1, tenth), 4)
        figures[f"{name}_last"] = round(metrics_log.mean(name, steps - tenth + 1, steps), 4)
    if mixed := metrics_log.curve(MIXED_GROUPS):
        figures[MIXED_GROUPS] = round(mixed[0][1], 4)
    if validator is not None:
        times = metrics_log.curve("validation_seconds")
        figures["seconds_validation"] = round(sum(value for _, value in times), 1)
        figures["best_step"], best = validator.best
        name = f"validation_{validator.best_metric}"
        figures[f"{name}_first"] = round(validator.evaluations[0][1], 4)
        figures[f"{name}_best"] = round(best, 4)
    return figures
