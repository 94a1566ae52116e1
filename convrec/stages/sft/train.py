"""Supervised fine-tuning on demonstrations: TRL's SFTTrainer, loss on the completion alone.

Two things depart from TRL's defaults, both for small models on CPU cores, where they double the
speed: sequences are padded on the right without an attention mask (a causal model never looks
there), and the loss projects only the positions from the first answer token on, in one piece
(TRL's own chunked head serves where that piece would be large). LoRA adapters are merged into the
weights before they are saved, so every checkpoint is a plain transformers folder.

Several processes (`accelerate launch`) share each batch of `sft.batch_size` rows, in the order of
one process (`together`); the first writes.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from convrec.config import Config
from convrec.errors import TrainingError
from convrec.models.load import Student, has_bf16, keep_freed_memory, load_student
from convrec.models.memory_limits import CHECKPOINTED, LOGITS_AT_ONCE, LOGITS_AT_ONCE_CPU
from convrec.models.prompts import encode_completion, encode_prompt
from convrec.models.save import lora_config, out_of_memory, save_student
from convrec.stages.sft.distributed_sampler import DistributedBatchSampler, with_blank
from convrec.training.checkpoint import Checkpoints, latest, step_of
from convrec.training.fsdp import add_up_exactly
from convrec.training.metrics_log import MetricsLog
from convrec.utils.distributed import is_first, is_saved, is_sharded, process_count
from convrec.utils.progress import Progress, silent
from convrec.utils.workspace import workspace

EncodedRow = tuple[str, str]
"""Prompt text and completion text."""

Curve = tuple[int, str, float]
"""Optimizer step, name, value."""

_IGNORED = -100
_EAGER_LENGTH = 1024
"""Tokens up to which attention written out beats the CPU's fused kernel (slow bf16 backward)."""


def train_sft(
    rows: Sequence[EncodedRow],
    validation: Sequence[EncodedRow],
    config: Config,
    out: Path,
    *,
    seed: int,
    progress: Progress = silent,
    working_folder: Path | None = None,
) -> tuple[dict[str, float | int | str], list[Curve]]:
    """Train `model.base` on prompt and completion texts and write the checkpoint folder `out`.

    Returns figures (parameters, steps, losses, speed) and curves: `loss` by optimizer step and
    `validation_loss` by epoch, in nats a token. The same rows, seed, machine and number of threads
    give the same bytes, also where a run goes on from the `working_folder` of one that was killed
    (each epoch but the last is saved there). Raises TrainingError where memory runs out, the loss
    is not finite, or there is nothing to train on.
    """
    if not rows:
        raise TrainingError(
            "there is no demonstration to train on in split train; check the split of the "
            "conversations and how many demonstrations `convrec artifacts list` shows"
        )
    keep_freed_memory()
    texts = [text for row in rows for text in row]
    student = load_student(config.model.base, config=config.model, texts=texts, seed=seed)
    parameters = student.model.num_parameters()
    data = encode_rows(rows, student.tokenizer, config)
    held_out = encode_rows(validation, student.tokenizer, config)
    started = time.perf_counter()
    with workspace(working_folder) as folder:
        resumed = latest(folder)
        record = MetricsLog(folder, step_of(resumed), writes=is_first())
        saved = process_count() == 1 or (working_folder is not None and is_saved())
        callbacks = [_Recorder(progress, record), Checkpoints(folder, epochs=saved)]
        trainer = _trainer(student, data, held_out, config, folder, seed, callbacks)
        _train(trainer, resumed, config)
        seconds = time.perf_counter() - started
        if is_sharded():
            _save_gathered(trainer, out)
        elif is_first():
            save_student(Student(trainer.model, student.tokenizer), out)
        if is_first():
            record.copy_to(out)
    tokens = round(sum(map(len, data["input_ids"])) * config.sft.epochs)
    here = 1 - step_of(resumed) / trainer.state.global_step
    figures: dict[str, float | int | str] = {
        "parameters": parameters,
        "rows": len(rows),
        "steps": trainer.state.global_step,
        "loss": record.curve("loss")[-1][1],
        "tokens": tokens,
        "tokens_per_second": round(tokens * here / seconds),
        "threads": torch.get_num_threads(),
        "bf16": str(bool(trainer.args.bf16)).lower(),
    }
    if held := record.curve("validation_loss"):
        figures["validation_loss"] = held[-1][1]
    if resumed is not None:
        figures["resumed_from_step"] = step_of(resumed)
    return figures, record.points


def _train(trainer: SFTTrainer, resumed: Path | None, config: Config) -> None:
    try:
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise TrainingError(
            f"training ran out of memory with sft.batch_size={config.sft.batch_size}; "
            f"try --set sft.batch_size={max(1, config.sft.batch_size // 2)}, or a lower "
            "model.max_prompt_tokens"
        ) from None


def encode_rows(
    rows: Sequence[EncodedRow], tokenizer: Any, config: Config
) -> dict[str, list[list[int]]]:
    """Columns `input_ids` and `labels`; labels are −100 on the prompt, so that it has no loss."""
    ids, labels = [], []
    for text, completion in rows:
        prompt = encode_prompt(tokenizer, text, config.model.max_prompt_tokens)
        answer = encode_completion(tokenizer, completion, config.model.max_completion_tokens)
        ids.append(prompt + answer)
        labels.append([_IGNORED] * len(prompt) + answer)
    return {"input_ids": ids, "labels": labels}


def _save_gathered(trainer: SFTTrainer, out: Path) -> None:
    """Save weights that the processes hold in parts; every process has to come here."""
    trainer.save_model(str(out))
    (out / "training_args.bin").unlink(missing_ok=True)


class _Trainer(SFTTrainer):
    """SFTTrainer whose loss skips the prompt's logits; same loss, same gradient."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        if self.accelerator.num_processes > 1:  # TRL's gathers, so all must go the same way
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"]  # (B, T)
        first = int((labels != _IGNORED).any(dim=0).int().argmax())
        kept = labels.shape[1] - first + 1  # the logits before `first` predict the token there
        size = labels.shape[0] * kept * model.config.get_text_config().vocab_size
        most = LOGITS_AT_ONCE_CPU if labels.device.type == "cpu" else LOGITS_AT_ONCE
        if return_outputs or first == 0 or size > most:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        logits = model(
            input_ids=inputs["input_ids"],
            position_ids=inputs["position_ids"],
            use_cache=False,
            logits_to_keep=kept,
        ).logits[:, :-1]  # (B, T - first, V)
        targets = labels[:, first:]
        count = (targets != _IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        losses = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1),
            targets.flatten(),
            ignore_index=_IGNORED,
            reduction="sum",
        )
        return losses / count

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load whole weights; what is cut is put back with its optimizer (`Checkpoints`)."""
        if not is_sharded():
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Rows by length; of several processes, in the order that one would have taken."""
        data = self.train_dataset if train_dataset is None else train_dataset
        processes = self.accelerator.num_processes
        if processes == 1:
            return super()._get_train_sampler(data)
        sampler = super()._get_train_sampler(data.select(range(len(data) - 1)))
        sampler.batch_size *= processes
        return DistributedBatchSampler(sampler, sampler.batch_size)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The validation loss; each of several processes measures all rows, as one would."""
        if self.accelerator.num_processes == 1:
            return super().evaluate(*args, **kwargs)
        size = self.args.per_device_eval_batch_size
        rows = DataLoader(self.eval_dataset, batch_size=size, collate_fn=self.data_collator)
        total = 0.0
        self.model_wrapped.eval()
        with torch.no_grad():
            for batch in rows:
                loss = super().compute_loss(self.model_wrapped, self._prepare_inputs(batch))
                total += float(loss) * len(batch["labels"])
        self.model_wrapped.train()
        metrics = {"eval_loss": total / len(self.eval_dataset)}
        self.log(metrics)
        return metrics


class _Recorder(TrainerCallback):
    """Keeps the curves, reports progress, and stops a run whose loss is not finite."""

    def __init__(self, progress: Progress, record: MetricsLog) -> None:
        self._progress = progress
        self._record = record

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        for name, curve in (("loss", "loss"), ("eval_loss", "validation_loss")):
            if name in (logs or {}):
                value = float(logs[name])
                if not math.isfinite(value):
                    raise TrainingError(
                        f"the loss became {value} at step {state.global_step}; "
                        f"lower sft.learning_rate (now {args.learning_rate:g})"
                    )
                self._record.add(state.global_step, {curve: value})
                self._progress(state.global_step, state.max_steps, f"{curve} {value:.3f}")


def _trainer(
    student: Student,
    data: dict[str, list[list[int]]],
    held_out: dict[str, list[list[int]]],
    config: Config,
    folder: Path,
    seed: int,
    callbacks: list[TrainerCallback],
) -> _Trainer:
    arguments = _arguments(student.model, data, held_out, config, folder, seed)
    if process_count() > 1:
        data = with_blank(data, student.tokenizer.pad_token_id)
    if arguments.use_cpu and arguments.bf16 and max(map(len, data["input_ids"])) <= _EAGER_LENGTH:
        student.model.set_attn_implementation("eager")
    trainer = _Trainer(
        model=student.model,
        args=arguments,
        data_collator=_Collator(student.tokenizer.pad_token_id),
        train_dataset=Dataset.from_dict(data),
        eval_dataset=Dataset.from_dict(held_out) if held_out["labels"] else None,
        processing_class=student.tokenizer,
        callbacks=callbacks,
        peft_config=lora_config(config.sft.lora),
    )
    trainer.remove_callback(PrinterCallback)
    add_up_exactly(trainer)
    return trainer


def _arguments(
    model: Any,
    data: dict[str, list[list[int]]],
    held_out: dict[str, list[list[int]]],
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
            eval_strategy="epoch" if held_out["labels"] else "no",
            prediction_loss_only=True,
            save_strategy="no",
            logging_steps=max(1, steps // 50),
            logging_nan_inf_filter=False,
            disable_tqdm=True,
            report_to="none",
            dataloader_pin_memory=not on_cpu,
            bf16=config.model.bf16 and has_bf16(),
            use_cpu=on_cpu,
            gradient_checkpointing=model.num_parameters() >= CHECKPOINTED,
            dataset_kwargs={"skip_prepare_dataset": True},
            seed=seed,
            data_seed=seed,
        )


class _Collator:
    """Pads a batch on the right; position_ids tell TRL how long it is, no mask is needed."""

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        length = max(len(row["input_ids"]) for row in rows)
        shape = (len(rows), length)
        ids = torch.full(shape, self._pad)
        labels = torch.full(shape, _IGNORED)
        for i, row in enumerate(rows):
            ids[i, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
            labels[i, : len(row["labels"])] = torch.tensor(row["labels"])
        positions = torch.arange(length).expand(shape)
        return {"input_ids": ids, "labels": labels, "position_ids": positions}
