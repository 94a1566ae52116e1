"""Tokenized prompts and completions, and their batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

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
