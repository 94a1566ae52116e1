"""Tokenized prompts and completions, and how the rows of a step are shared.

transformers groups rows by length within one process's batches, and fills the last batch with rows
that were already used. Here a step has the same rows for any number of processes and micro-batches:
those that a single process would draw. Blank rows without labels complete what does not divide, so
that every step has the loss and gradient of one batch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from convrec.config import Config
from convrec.errors import TrainingError
from convrec.models.prompts import encode_completion, encode_student_prompt
from convrec.utils.distributed import is_first

TextPair = tuple[str, str]
"""Prompt text and completion text."""

EncodedRows = dict[str, list[NDArray[np.int32]]]
"""Columns `input_ids` and `labels`, an array per row: a list takes nine times the memory."""

IGNORED = -100
"""Label of tokens without loss."""

WARNED_SHARE = 0.01
"""Share of answers that are too long, above which a training warns."""

_LOG = logging.getLogger(__name__)


def encode_rows(rows: Sequence[TextPair], tokenizer: Any, config: Config) -> EncodedRows:
    """Tokenize rows; the labels of the prompt are IGNORED.

    An answer that is longer than `model.max_completion_tokens` keeps its whole lines, without EOS.
    A row of which not even one line fits is left out.
    """
    ids: list[NDArray[np.int32]] = []
    labels: list[NDArray[np.int32]] = []
    encode_once = cache(lambda text: encode_student_prompt(tokenizer, text, config))
    for text, completion in rows:
        answer = encode_completion(tokenizer, completion, config.model.max_completion_tokens)
        if answer:
            prompt = encode_once(text)
            ids.append(np.array(prompt + answer, dtype=np.int32))
            labels.append(np.array([IGNORED] * len(prompt) + answer, dtype=np.int32))
    return {"input_ids": ids, "labels": labels}


def count_cut_answers(rows: int, data: EncodedRows, tokenizer: Any, config: Config) -> int:
    """How many answers of `rows` rows are cut or left out in their encoded `data`.

    Logs a warning if these are many. Raises TrainingError if all are.
    """
    cut = rows - sum(int(row[-1]) == tokenizer.eos_token_id for row in data["labels"])
    limit = config.model.max_completion_tokens
    if cut == rows:
        raise TrainingError(
            f"model.max_completion_tokens={limit} cuts every one of the {rows:,} answers, so no "
            "list would be trained to its end; raise it"
        )
    if cut > WARNED_SHARE * rows and is_first():
        _LOG.warning(
            "model.max_completion_tokens=%d cuts %s of %s answers: they keep their whole lines, "
            "and do not teach where a list ends; raise it",
            limit,
            f"{cut:,}",
            f"{rows:,}",
        )
    return cut


class RightPaddingCollator:
    """Pads a batch on the right: input_ids, labels and position_ids, each (B, T).

    TRL takes the length of the batch from position_ids, so no attention mask is needed. Rows
    without loss are left out, unless there are no others.
    """

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, Tensor]:
        """The batch of these rows."""
        rows = [row for row in rows if row["labels"][-1] != IGNORED] or rows[:1]
        length = max(len(row["input_ids"]) for row in rows)
        shape = (len(rows), length)
        ids = torch.full(shape, self._pad)
        labels = torch.full(shape, IGNORED)
        for i, row in enumerate(rows):
            ids[i, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
            labels[i, : len(row["labels"])] = torch.tensor(row["labels"])
        positions = torch.arange(length).expand(shape)
        return {"input_ids": ids, "labels": labels, "position_ids": positions}


class StepSampler(Sampler[int]):
    """The order of `sampler` (n rows) as the first process draws it, in steps of `step_rows`.

    Each step is completed with blank rows to a multiple of `unit`, the rows of all processes in one
    pass. The blank row is row n of the data.
    """

    def __init__(self, sampler: Any, step_rows: int, unit: int) -> None:
        self.sampler = sampler
        self.step_rows = step_rows
        self.unit = unit

    def __iter__(self) -> Iterator[int]:
        # Every process draws the order, so their generators stay in step.
        order = broadcast_object_list([list(self.sampler)])[0]
        for start in range(0, len(order), self.step_rows):
            step = order[start : start + self.step_rows]
            yield from step
            yield from [len(order)] * (-len(step) % self.unit)

    def __len__(self) -> int:
        steps, rest = divmod(len(self.sampler), self.step_rows)
        return self.unit * (
            steps * math.ceil(self.step_rows / self.unit) + math.ceil(rest / self.unit)
        )


def append_blank_row(data: EncodedRows, pad: int) -> EncodedRows:
    """`data` with a last row of two padding tokens that has no loss."""
    return {
        "input_ids": [*data["input_ids"], np.array([pad, pad], dtype=np.int32)],
        "labels": [*data["labels"], np.array([IGNORED, IGNORED], dtype=np.int32)],
    }
