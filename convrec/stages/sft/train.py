"""Supervised fine-tuning on demonstrations: TRL's SFTTrainer, with loss on the completion only.

Two defaults of TRL are changed, which doubles the speed of small models on CPU cores. Sequences are
padded on the right without an attention mask (a causal model never attends to the padding). The
loss projects only the positions from the first completion token on, in one piece; if that piece is
large, TRL's chunked head is used. The `sft.batch_size` rows of a step are split over processes and
micro-batches in the order of a single process (`StepSampler`).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from convrec.config import Config
from convrec.errors import TrainingError
from convrec.models.hardware import keep_freed_memory
from convrec.models.load import load_checkpoint, load_student
from convrec.stages.sft.data import TextPair, count_cut_answers, encode_rows
from convrec.stages.sft.make_trainer import SftInputs, make_trainer
from convrec.training.best_weights import BestWeights, collector, save_trained
from convrec.training.checkpoint import run_trainer
from convrec.training.epoch_checkpoint import EpochCheckpointCallback
from convrec.training.job import Figures, TrainingResult
from convrec.training.metrics_log import MetricsLog
from convrec.training.progress import TrainingProgress
from convrec.training.tracking.callback import make_tracking
from convrec.training.tracking.run import NO_IDS, RunIds
from convrec.training.trim_memory import TrimMemory
from convrec.utils.distributed import can_checkpoint, is_first, process_count
from convrec.utils.progress import Progress, no_progress
from convrec.utils.sample_sizes import few_demonstrations
from convrec.utils.workspace import workspace

VALIDATION_LOSS = "validation_loss"
"""The curve that selects the best weights."""

_LOG = logging.getLogger(__name__)


def train_sft(
    rows: Sequence[TextPair],
    validation: Sequence[TextPair],
    config: Config,
    out: Path,
    *,
    seed: int,
    checkpoint: Path | None = None,
    progress: Progress = no_progress,
    working_folder: Path | None = None,
    ids: RunIds = NO_IDS,
) -> TrainingResult:
    """Train on prompts and completions and write the checkpoint folder `out`.

    Training starts from the model in `checkpoint`, with a new optimizer, or from `model.base`.

    The same rows, seed, machine and number of threads give the same bytes, also for a run that
    resumes from the `working_folder` of a killed one. The losses are in nats per token. Raises
    TrainingError if there are no rows, `model.max_completion_tokens` cuts every answer, the loss
    is not finite, or memory runs out.
    """
    if not rows:
        raise TrainingError(
            "split train has no demonstration to train on; check the split of the conversations, "
            "and the number of demonstrations in `convrec artifacts list`"
        )
    is_new = checkpoint is None and is_first()
    if is_new and (warning := few_demonstrations(len(rows), config.model.base)):
        _LOG.warning("%s", warning)
    keep_freed_memory()
    if checkpoint is None:
        texts = [text for row in rows for text in row]
        student = load_student(config.model.base, config=config.model, texts=texts, seed=seed)
    else:
        student = load_checkpoint(checkpoint)
    parameters = student.model.num_parameters()
    train_data = encode_rows(rows, student.tokenizer, config)
    answers_cut = count_cut_answers(len(rows), train_data, student.tokenizer, config)
    validation_data = encode_rows(validation, student.tokenizer, config)
    keeps_best = bool(validation_data["labels"]) and config.sft.keep == "best"
    started = time.perf_counter()
    with workspace(working_folder) as folder:
        inputs = SftInputs(student, train_data, validation_data, config, folder, seed)
        can_save = process_count() == 1 or (working_folder is not None and can_checkpoint())
        checkpoints = EpochCheckpointCallback(folder, every=config.sft.save_every, enabled=can_save)
        resumed_step = checkpoints.saved_step
        metrics_log = MetricsLog(folder, resumed_step, is_writer=is_first())
        tokens_per_step = sum(map(len, inputs.train["input_ids"])) / inputs.steps_per_epoch
        metrics = _MetricsCallback(progress, metrics_log, tokens_per_step)
        callbacks = [metrics, TrimMemory(), checkpoints]
        trainer = make_trainer(inputs, callbacks)
        best = None
        if keeps_best:
            best = BestWeights(
                metrics_log, VALIDATION_LOSS, lowest=True, collect=collector(trainer)
            )
        trainer.add_callback(_ValidationCallback(best))
        with make_tracking(config, "sft", ids, folder, resumed_step) as tracking:
            tracking.attach(trainer, metrics_log)
            run_trainer(trainer, checkpoints, _memory_advice(trainer.args))
        seconds = time.perf_counter() - started
        save_trained(trainer, best, student.tokenizer, out)
        if is_first():
            metrics_log.copy_to(out)
    steps = trainer.state.global_step
    tokens = round(steps * tokens_per_step)
    trained_share = 1 - resumed_step / steps  # of all steps, in this run
    figures: Figures = {
        "parameters": parameters,
        "rows": len(rows),
        "answers_cut": answers_cut,
        "steps": steps,
        "loss": metrics_log.curve("loss")[-1][1],
        "tokens": tokens,
        "tokens_per_second": round(tokens * trained_share / seconds),
        "micro_batch": trainer.args.per_device_train_batch_size,
        "threads": torch.get_num_threads(),
        "bf16": str(bool(trainer.args.bf16)).lower(),
    }
    figures |= _validation_figures(metrics_log, best)
    if resumed_step:
        figures["resumed_from_step"] = resumed_step
    figures |= tracking.figures()
    return figures, metrics_log.frame()


def _memory_advice(arguments: Any) -> str:
    size = arguments.per_device_train_batch_size
    smaller = (
        f"--set sft.micro_batch={size // 2}" if size > 1 else "a lower model.max_prompt_tokens"
    )
    recompute = "" if arguments.gradient_checkpointing else "--set train.gradient_checkpointing=on"
    return f"sft.micro_batch={size}; try " + ", or ".join(filter(None, (smaller, recompute)))


def _validation_figures(metrics_log: MetricsLog, best: BestWeights | None) -> Figures:
    losses = metrics_log.curve(VALIDATION_LOSS)
    if not losses:
        return {}
    if best is None:
        return {"validation_loss": losses[-1][1]}
    step, loss = best.best
    return {"validation_loss": loss, "best_step": step}


class _MetricsCallback(TrainerCallback):
    """Logs the losses and reports progress; raises TrainingError if a loss is not finite."""

    def __init__(self, progress: Progress, metrics_log: MetricsLog, tokens_per_step: float) -> None:
        self._tokens_per_step = tokens_per_step
        self._progress = TrainingProgress(progress)
        self._metrics_log = metrics_log

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        for name, curve in (("loss", "loss"), ("eval_loss", VALIDATION_LOSS)):
            if name in (logs or {}):
                value = float(logs[name])
                if not math.isfinite(value):
                    raise TrainingError(
                        f"the loss became {value} at step {state.global_step}; "
                        f"lower sft.learning_rate (now {args.learning_rate:g})"
                    )
                self._metrics_log.add_metrics(state.global_step, {curve: value})
                text = f"{curve.replace('_', ' ')} {value:.3f}"
                counted = {"num_tokens": state.global_step * self._tokens_per_step}
                self._progress.log(state.global_step, state.max_steps, text, counted)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._progress.step(state.global_step, state.max_steps)


class _ValidationCallback(TrainerCallback):
    """Validates the last step, too, and keeps the best weights."""

    def __init__(self, best: BestWeights | None) -> None:
        self._best = best

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if args.eval_strategy == "steps" and state.global_step >= state.max_steps:
            control.should_evaluate = True

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if self._best is not None:
            self._best.keep(state.global_step, model)
