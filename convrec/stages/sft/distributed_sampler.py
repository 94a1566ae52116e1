"""Split the batches of a single process among several.

transformers groups rows by length within one process's batches, and fills the last batch with rows
that were already used. Here the order is that of a single process, and the last batch is filled
with blank rows without labels. Every step then has the loss and the gradient of a single process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from accelerate.utils import broadcast_object_list
from torch.utils.data import Sampler

from convrec.stages.sft.data import IGNORED, EncodedRows


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
