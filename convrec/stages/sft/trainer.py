"""TRL's SFTTrainer with a faster loss for short completions, and steps that processes share."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader
from trl import SFTTrainer

from convrec.models.memory_limits import MAX_LOGITS_CPU, MAX_LOGITS_GPU
from convrec.stages.sft.data import IGNORED, StepSampler


class CompletionTrainer(SFTTrainer):
    """SFTTrainer whose loss skips the prompt's logits; same loss, same gradient.

    The last row of its data is blank. `step_rows` is the number of rows of a step in all processes,
    which `per_device_train_batch_size` and `gradient_accumulation_steps` must have room for.
    """

    def __init__(self, *args: Any, step_rows: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.step_rows = step_rows
        # The loss of a pass is divided by the tokens of the step, whatever the model accepts.
        self.model_accepts_loss_kwargs = True

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

    def _get_train_sampler(self, train_dataset: Any = None) -> StepSampler:
        """Rows by length, in the steps of a single process."""
        data = self.train_dataset if train_dataset is None else train_dataset
        sampler: Any = super()._get_train_sampler(data.select(range(len(data) - 1)))
        sampler.batch_size = self.step_rows
        unit = self.args.per_device_train_batch_size * self.accelerator.num_processes
        return StepSampler(sampler, self.step_rows, unit)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The validation loss per token, over all processes."""
        model = self.model_wrapped
        model.eval()
        total = torch.zeros(2, dtype=torch.float64)
        with torch.no_grad():
            for batch in self._validation_batches():
                tokens = int((batch["labels"][:, 1:] != IGNORED).sum())
                loss = self.compute_loss(model, self._prepare_inputs(batch))
                total += torch.tensor([float(loss) * tokens, tokens], dtype=torch.float64)
        loss, tokens = self.accelerator.reduce(total.to(self.args.device)).tolist()
        metrics = {"eval_loss": loss / tokens}
        self.log(metrics)
        model.train()
        trainer: Any = self
        trainer.control = self.callback_handler.on_evaluate(
            self.args, self.state, trainer.control, metrics
        )
        return metrics

    def _validation_batches(self) -> DataLoader[Any]:
        """The batches of this process; blank ones make their number equal in all processes."""
        rows, size = len(self.eval_dataset) - 1, self.args.per_device_eval_batch_size
        batches = [list(range(start, min(start + size, rows))) for start in range(0, rows, size)]
        batches += [[rows]] * (-len(batches) % self.accelerator.num_processes)
        own = batches[self.accelerator.process_index :: self.accelerator.num_processes]
        return DataLoader(self.eval_dataset, batch_sampler=own, collate_fn=self.data_collator)
