"""Supervised fine-tuning on demonstrations: TRL's SFTTrainer, with loss on the completion only.

Two defaults of TRL are changed, which doubles the speed of small models on CPU cores. Sequences are
padded on the right without an attention mask (a causal model never attends to the padding). The
loss projects only the positions from the first completion token on, in one piece; if that piece is
large, TRL's chunked head is used. Several processes share each batch of `sft.batch_size` rows in
the order of a single process (`DistributedBatchSampler`).
"""

from __future__ import annotations

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
from convrec.models.load import Student, load_student, save_student
from convrec.stages.sft.data import TextPair, encode_rows
from convrec.stages.sft.trainer import make_trainer
from convrec.training.checkpoint import CheckpointCallback, run_trainer
from convrec.training.job import Figures, TrainingResult
from convrec.training.metrics_log import MetricsLog
from convrec.training.tracking.callback import make_tracking
from convrec.training.tracking.run import NO_IDS, RunIds
from convrec.utils.distributed import can_checkpoint, is_first, is_sharded, process_count
from convrec.utils.progress import Progress, no_progress
from convrec.utils.workspace import workspace


def train_sft(
    rows: Sequence[TextPair],
    validation: Sequence[TextPair],
    config: Config,
    out: Path,
    *,
    seed: int,
    progress: Progress = no_progress,
    working_folder: Path | None = None,
    ids: RunIds = NO_IDS,
) -> TrainingResult:
    """Train `model.base` on prompts and completions and write the checkpoint folder `out`.

    The same rows, seed, machine and number of threads give the same bytes, also for a run that
    resumes from the `working_folder` of a killed one. The losses are in nats per token. Raises
    TrainingError if there are no rows, the loss is not finite, or memory runs out.
    """
    if not rows:
        raise TrainingError(
            "split train has no demonstration to train on; check the split of the conversations, "
            "and the number of demonstrations in `convrec artifacts list`"
        )
    keep_freed_memory()
    texts = [text for row in rows for text in row]
    student = load_student(config.model.base, config=config.model, texts=texts, seed=seed)
    parameters = student.model.num_parameters()
    data = encode_rows(rows, student.tokenizer, config)
    validation_data = encode_rows(validation, student.tokenizer, config)
    started = time.perf_counter()
    with workspace(working_folder) as folder:
        can_save = process_count() == 1 or (working_folder is not None and can_checkpoint())
        checkpoints = CheckpointCallback(folder, between_epochs=can_save)
        resumed_step = checkpoints.saved_step
        metrics_log = MetricsLog(folder, resumed_step, is_writer=is_first())
        callbacks = [_MetricsCallback(progress, metrics_log), checkpoints]
        trainer = make_trainer(student, data, validation_data, config, folder, seed, callbacks)
        size = config.sft.batch_size
        advice = (
            f"sft.batch_size={size}; try --set sft.batch_size={max(1, size // 2)}, or a lower "
            "model.max_prompt_tokens"
        )
        with make_tracking(config, "sft", ids, folder, resumed_step) as tracking:
            tracking.attach(trainer, metrics_log)
            run_trainer(trainer, checkpoints, advice)
        seconds = time.perf_counter() - started
        if is_sharded():  # every process must take part
            trainer.save_model(str(out))
            (out / "training_args.bin").unlink(missing_ok=True)
        elif is_first():
            save_student(Student(trainer.model, student.tokenizer), out)
        if is_first():
            metrics_log.copy_to(out)
    tokens = round(sum(map(len, data["input_ids"])) * config.sft.epochs)
    trained_share = 1 - resumed_step / trainer.state.global_step  # of all steps, in this run
    figures: Figures = {
        "parameters": parameters,
        "rows": len(rows),
        "steps": trainer.state.global_step,
        "loss": metrics_log.curve("loss")[-1][1],
        "tokens": tokens,
        "tokens_per_second": round(tokens * trained_share / seconds),
        "threads": torch.get_num_threads(),
        "bf16": str(bool(trainer.args.bf16)).lower(),
    }
    if validation_losses := metrics_log.curve("validation_loss"):
        figures["validation_loss"] = validation_losses[-1][1]
    if resumed_step:
        figures["resumed_from_step"] = resumed_step
    figures |= tracking.figures()
    return figures, metrics_log.frame()


class _MetricsCallback(TrainerCallback):
    """Logs the losses and reports progress; raises TrainingError if a loss is not finite."""

    def __init__(self, progress: Progress, metrics_log: MetricsLog) -> None:
        self._progress = progress
        self._metrics_log = metrics_log

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        for name, curve in (("loss", "loss"), ("eval_loss", "validation_loss")):
            if name in (logs or {}):
                value = float(logs[name])
                if not math.isfinite(value):
                    raise TrainingError(
                        f"the loss became {value} at step {state.global_step}; "
                        f"lower sft.learning_rate (now {args.learning_rate:g})"
                    )
                self._metrics_log.add_metrics(state.global_step, {curve: value})
                self._progress(state.global_step, state.max_steps, f"{curve} {value:.3f}")
