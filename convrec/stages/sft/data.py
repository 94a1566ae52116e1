"""Tokenized prompts and completions, their batches, and how processes share a batch.

transformers groups rows by length within one process's batches, and fills the last batch with rows
that were already used. Here several processes use the order of a single one, and the last batch is
filled with blank rows without labels: every step has the loss and gradient of a single process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor
from torch.utils.data import Sampler

from convrec.config import Config
from convrec.models.prompts import encode_completion, encode_prompt

TextPair = tuple[str, str]
"""Prompt text and completion text."""

EncodedRows = dict[str, list[list[int]]]
"""Columns `input_ids` and `labels`, one list per row."""

IGNORED = -100
"""Label of tokens without loss."""


def encode_rows(rows: Sequence[TextPair], tokenizer: Any, config: Config) -> EncodedRows:
    """Tokenize rows; the labels of the prompt are IGNORED."""
    ids, labels = [], []
    for text, completion in rows:
        prompt = encode_prompt(tokenizer, text, config.model.max_prompt_tokens)
        answer = encode_completion(tokenizer, completion, config.model.max_completion_tokens)
        ids.append(prompt + answer)
        labels.append([IGNORED] * len(prompt) + answer)
    return {"input_ids": ids, "labels": labels}


class RightPaddingCollator:
    """Pads a batch on the right: input_ids, labels and position_ids, each (B, T).

    TRL takes the length of the batch from position_ids, so no attention mask is needed.
    """

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, Tensor]:
        """The batch of these rows."""
        length = max(len(row["input_ids"]) for row in rows)
        shape = (len(rows), length)
        ids = torch.full(shape, self._pad)
        labels = torch.full(shape, IGNORED)
        for i, row in enumerate(rows):
            ids[i, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
            labels[i, : len(row["labels"])] = torch.tensor(row["labels"])
        positions = torch.arange(length).expand(shape)
        return {"input_ids": ids, "labels": labels, "position_ids": positions}


class DistributedBatchSampler(Sampler[int]):
    """The order of `sampler` (n rows) as the first process draws it, padded with blank rows.

    The blank row is row n of the data. `batch_size` counts the rows of all processes.
    """

    def __init__(self, sampler: Any, batch_size: int) -> None:
        self.sampler = sampler
        self.blanks = -len(sampler) % batch_size

    def __iter__(self) -> Iterator[int]:
        # Every process draws the order, so their generators stay in step.
        order = broadcast_object_list([list(self.sampler)])[0]
        return iter([*order, *[len(order)] * self.blanks])

    def __len__(self) -> int:
        return len(self.sampler) + self.blanks


def append_blank_row(data: EncodedRows, pad: int) -> EncodedRows:
    """`data` with a last row of two padding tokens that has no loss."""
    return {
        "input_ids": [*data["input_ids"], [pad, pad]],
        "labels": [*data["labels"], [IGNORED, IGNORED]],
    }
