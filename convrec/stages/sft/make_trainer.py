"""The trainer of `config.sft`: its arguments, and how a step is split into passes."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig

from convrec.config import Config
from convrec.models.adapters import lora_config
from convrec.models.hardware import has_bf16
from convrec.models.load import Student
from convrec.stages.sft.data import (
    IGNORED,
    EncodedRows,
    RightPaddingCollator,
    append_blank_row,
)
from convrec.stages.sft.trainer import CompletionTrainer
from convrec.training.batch_split import BatchSplit, split_step
from convrec.training.fsdp import reduce_in_float32
from convrec.training.memory.micro_batch import even_part
from convrec.training.model_options import convert_frozen_weights, set_attention
from convrec.training.optimization import optimization_arguments
from convrec.training.step_count import check_drop_step, sft_steps
from convrec.utils.distributed import process_count

_MAX_EAGER_LENGTH = 1024
"""Tokens up to which eager attention beats the CPU's fused kernel (slow bf16 backward)."""


@dataclass(frozen=True)
class SftInputs:
    """What a training starts from; `folder` is its working folder."""

    student: Student
    train: EncodedRows
    validation: EncodedRows
    config: Config
    folder: Path
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps over all rows."""
        return math.ceil(len(self.train["labels"]) / self.config.sft.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the training."""
        return sft_steps(len(self.train["labels"]), self.config.sft)


def make_trainer(inputs: SftInputs, callbacks: list[TrainerCallback]) -> CompletionTrainer:
    """The trainer; a run that resumes splits its steps as it began. TRL writes no files."""
    student, config = inputs.student, inputs.config
    check_drop_step(config.sft, inputs.steps, "sft")
    on_cpu, bf16 = not torch.cuda.is_available(), config.model.bf16 and has_bf16()
    longest = max(map(len, inputs.train["input_ids"]))
    is_eager_faster = on_cpu and bf16 and longest <= _MAX_EAGER_LENGTH
    fastest = "eager" if is_eager_faster else ""
    set_attention(student.model, config.train.attn_implementation, fastest=fastest)
    PartialState(cpu=on_cpu)  # connects the processes, which agree on a split
    split = _batch_split(inputs, bf16)
    convert_frozen_weights(student.model, config.model, config.sft.lora)
    pad = student.tokenizer.pad_token_id
    validation = append_blank_row(inputs.validation, pad) if inputs.validation["labels"] else None
    trainer = CompletionTrainer(
        model=student.model,
        args=_arguments(inputs, split, bf16),
        data_collator=RightPaddingCollator(pad),
        train_dataset=Dataset.from_dict(append_blank_row(inputs.train, pad)),
        eval_dataset=Dataset.from_dict(validation) if validation else None,
        processing_class=student.tokenizer,
        callbacks=callbacks,
        peft_config=lora_config(config.sft.lora, student.model, "sft"),
        step_rows=config.sft.batch_size,
    )
    trainer.remove_callback(PrinterCallback)
    reduce_in_float32(trainer)
    return trainer


def _batch_split(inputs: SftInputs, bf16: bool) -> BatchSplit:
    """The passes over the rows that a process has in a step: as set, or as memory allows."""
    config = inputs.config
    own_rows = math.ceil(config.sft.batch_size / process_count())
    micro_batch = even_part(own_rows, config.sft.micro_batch)
    if micro_batch:  # blank rows complete the last pass
        own_rows = math.ceil(own_rows / micro_batch) * micro_batch
    sft = config.sft.model_copy(update={"micro_batch": micro_batch})
    labels = inputs.train["labels"]
    answers = [sum(label != IGNORED for label in row) for row in labels]
    return split_step(
        inputs.student.model,
        config.model_copy(update={"sft": sft}),
        "sft",
        own_rows,
        inputs.folder,
        prompt=max(len(row) - answer for row, answer in zip(labels, answers, strict=True)),
        completion=max(answers),
        bf16=bf16,
    )


def _arguments(inputs: SftInputs, split: BatchSplit, bf16: bool) -> SFTConfig:
    sft, validates = inputs.config.sft, bool(inputs.validation["labels"])
    on_cpu = not torch.cuda.is_available()
    with warnings.catch_warnings():
        # TRL 1.16 itself still sets gradient_checkpointing by its older name.
        warnings.filterwarnings("ignore", message="`gradient_checkpointing` is deprecated")
        return SFTConfig(
            output_dir=str(inputs.folder),
            per_device_train_batch_size=split.micro_batch,
            per_device_eval_batch_size=split.micro_batch,
            gradient_accumulation_steps=split.passes,
            num_train_epochs=sft.epochs,
            max_steps=sft.steps or -1,
            train_sampling_strategy="group_by_length",
            eval_strategy=("steps" if sft.eval_every else "epoch") if validates else "no",
            eval_steps=sft.eval_every or None,
            prediction_loss_only=True,
            save_strategy="no",
            logging_steps=max(1, inputs.steps // 50),
            logging_nan_inf_filter=False,
            disable_tqdm=True,
            report_to="none",
            dataloader_pin_memory=not on_cpu,
            bf16=bf16,
            use_cpu=on_cpu,
            gradient_checkpointing=split.recompute,
            dataset_kwargs={"skip_prepare_dataset": True},
            seed=inputs.seed,
            data_seed=inputs.seed,
            **optimization_arguments(sft, inputs.steps),
        )
