"""The data of several processes that train together: the batches of one process, cut in parts.

transformers groups rows by length in batches of one process and fills up a last batch with rows
that were had already. Here the order is that of one process, and what a last batch lacks are blank
rows without a label, so that every step has the loss and the gradient that it would have there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from accelerate.utils import broadcast_object_list
from torch.utils.data import Sampler

_IGNORED = -100


class DistributedBatchSampler(Sampler[int]):
    """The order of `sampler` (n rows) as the first process draws it, and blank rows to its end.

    The blank row is row n of the data; `whole` is the number of rows in a batch of all processes.
    """

    def __init__(self, sampler: Any, whole: int) -> None:
        self.sampler = sampler
        self.blanks = -len(sampler) % whole

    def __iter__(self) -> Iterator[int]:
        order = broadcast_object_list([list(self.sampler)])[0]  # each draws: generators move alike
        return iter([*order, *[len(order)] * self.blanks])

    def __len__(self) -> int:
        return len(self.sampler) + self.blanks


def with_blank(data: dict[str, list[list[int]]], pad: int) -> dict[str, list[list[int]]]:
    """`data` and a last row of two tokens that no loss is taken on."""
    return {
        "input_ids": [*data["input_ids"], [pad, pad]],
        "labels": [*data["labels"], [_IGNORED, _IGNORED]],
    }
