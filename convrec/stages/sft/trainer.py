"""TRL's SFTTrainer with a faster loss for short completions, and batches shared by processes."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from convrec.config import Config
from convrec.models.adapters import lora_config
from convrec.models.hardware import has_bf16
from convrec.models.load import Student
from convrec.models.memory_limits import MAX_LOGITS_CPU, MAX_LOGITS_GPU, RECOMPUTE_FROM
from convrec.stages.sft.data import (
    IGNORED,
    DistributedBatchSampler,
    EncodedRows,
    RightPaddingCollator,
    append_blank_row,
)
from convrec.training.fsdp import reduce_in_float32
from convrec.utils.distributed import is_sharded, process_count

_MAX_EAGER_LENGTH = 1024
"""Tokens up to which eager attention beats the CPU's fused kernel (slow bf16 backward)."""


class CompletionTrainer(SFTTrainer):
    """SFTTrainer whose loss skips the prompt's logits; same loss, same gradient."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss from the first completion token on; TRL's loss if that is too large."""
        if self.accelerator.num_processes > 1:  # TRL's loss is collective: all must take this path
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"]  # (B, T)
        first = int((labels != IGNORED).any(dim=0).int().argmax())
        kept = labels.shape[1] - first + 1  # the logits before `first` predict the token there
        size = labels.shape[0] * kept * model.config.get_text_config().vocab_size
        max_size = MAX_LOGITS_CPU if labels.device.type == "cpu" else MAX_LOGITS_GPU
        if return_outputs or first == 0 or size > max_size:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        logits = model(
            input_ids=inputs["input_ids"],
            position_ids=inputs["position_ids"],
            use_cache=False,
            logits_to_keep=kept,
        ).logits[:, :-1]  # (B, T - first, V)
        targets = labels[:, first:]  # (B, T - first)
        count = (targets != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        losses = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1),
            targets.flatten(),
            ignore_index=IGNORED,
            reduction="sum",
        )
        return losses / count

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load full weights; `CheckpointCallback` restores sharded ones."""
        if not is_sharded():
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Rows by length; several processes use the order of a single one."""
        data = self.train_dataset if train_dataset is None else train_dataset
        processes = self.accelerator.num_processes
        if processes == 1:
            return super()._get_train_sampler(data)
        sampler = super()._get_train_sampler(data.select(range(len(data) - 1)))
        sampler.batch_size *= processes
        return DistributedBatchSampler(sampler, sampler.batch_size)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The validation loss; each of several processes computes it on all rows."""
        if self.accelerator.num_processes == 1:
            return super().evaluate(*args, **kwargs)
        size = self.args.per_device_eval_batch_size
        batches = DataLoader(self.eval_dataset, batch_size=size, collate_fn=self.data_collator)
        total = 0.0
        self.model_wrapped.eval()
        with torch.no_grad():
            for batch in batches:
                loss = super().compute_loss(self.model_wrapped, self._prepare_inputs(batch))
                total += float(loss) * len(batch["labels"])
        self.model_wrapped.train()
        metrics = {"eval_loss": total / len(self.eval_dataset)}
        self.log(metrics)
        return metrics


def make_trainer(
    student: Student,
    data: EncodedRows,
    validation: EncodedRows,
    config: Config,
    folder: Path,
    seed: int,
    callbacks: list[TrainerCallback],
) -> CompletionTrainer:
    """The trainer of `config.sft`; `folder` is TRL's output folder, which stays empty."""
    arguments = _arguments(student.model, data, validation, config, folder, seed)
    if process_count() > 1:
        data = append_blank_row(data, student.tokenizer.pad_token_id)
    longest = max(map(len, data["input_ids"]))
    if arguments.use_cpu and arguments.bf16 and longest <= _MAX_EAGER_LENGTH:
        student.model.set_attn_implementation("eager")
    trainer = CompletionTrainer(
        model=student.model,
        args=arguments,
        data_collator=RightPaddingCollator(student.tokenizer.pad_token_id),
        train_dataset=Dataset.from_dict(data),
        eval_dataset=Dataset.from_dict(validation) if validation["labels"] else None,
        processing_class=student.tokenizer,
        callbacks=callbacks,
        peft_config=lora_config(config.sft.lora, student.model, "sft"),
    )
    trainer.remove_callback(PrinterCallback)
    reduce_in_float32(trainer)
    return trainer


def _arguments(
    model: Any,
    data: EncodedRows,
    validation: EncodedRows,
    config: Config,
    folder: Path,
    seed: int,
) -> SFTConfig:
    sft = config.sft
    steps = math.ceil(math.ceil(len(data["labels"]) / sft.batch_size) * sft.epochs)
    on_cpu = not torch.cuda.is_available()
    with warnings.catch_warnings():
        # TRL 1.16 itself still sets gradient_checkpointing by its older name.
        warnings.filterwarnings("ignore", message="`gradient_checkpointing` is deprecated")
        return SFTConfig(
            output_dir=str(folder),
            per_device_train_batch_size=sft.batch_size // process_count(),
            per_device_eval_batch_size=sft.batch_size,
            num_train_epochs=sft.epochs,
            learning_rate=sft.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=math.ceil(steps * sft.warmup_ratio),
            weight_decay=0.0,
            optim="adamw_torch_fused",
            train_sampling_strategy="group_by_length",
            eval_strategy="epoch" if validation["labels"] else "no",
            prediction_loss_only=True,
            save_strategy="no",
            logging_steps=max(1, steps // 50),
            logging_nan_inf_filter=False,
            disable_tqdm=True,
            report_to="none",
            dataloader_pin_memory=not on_cpu,
            bf16=config.model.bf16 and has_bf16(),
            use_cpu=on_cpu,
            gradient_checkpointing=model.num_parameters() >= RECOMPUTE_FROM,
            dataset_kwargs={"skip_prepare_dataset": True},
            seed=seed,
            data_seed=seed,
        )
