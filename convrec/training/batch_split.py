"""How one process splits its rows of a step into forward and backward passes.

The gradient of a step is that of all its rows; the split decides the memory and the speed. What was
chosen for a run is written to its working folder, because floating-point sums depend on the split:
a resumed run continues with the same one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from convrec.errors import ConfigError
from convrec.utils.distributed import is_first, process_count
from convrec.utils.files import atomic_path

_FILE = "batch_split.json"


class BatchSplit(NamedTuple):
    """The passes of one step in one process.

    Attributes:
        micro_batch: Rows in one forward and backward pass.
        passes: Passes of a step; micro_batch × passes are the rows of the step in this process.
        recompute: Whether the backward pass recomputes activations instead of keeping them.
    """

    micro_batch: int
    passes: int
    recompute: bool = False


def divide_rows(rows: int, micro_batch: int, name: str, *, recompute: bool = False) -> BatchSplit:
    """The split that a user asked for with the setting `name`.

    Raises ConfigError if `micro_batch` is larger than `rows`, those of one process in a step, or
    does not divide them.
    """
    if micro_batch > rows:
        raise ConfigError(
            f"{name}={micro_batch} is larger than a step, which has {rows} rows in each process; "
            f"set {name} to {rows} or less"
        )
    if rows % micro_batch:
        raise ConfigError(
            f"{name}={micro_batch} does not divide the {rows} rows that each process has in a "
            f"step; try --set {name}={largest_divisor(rows, micro_batch)}"
        )
    return BatchSplit(micro_batch, rows // micro_batch, recompute)


def largest_divisor(rows: int, limit: int) -> int:
    """The largest divisor of `rows` that is not above `limit`; at least 1."""
    return next(size for size in range(max(1, min(rows, limit)), 0, -1) if rows % size == 0)


def remembered_split(
    folder: Path, rows: int, choose: Callable[[], BatchSplit], *, micro_batch: int = 0
) -> BatchSplit:
    """The split that the run in this working folder began with, or `choose()`, which is stored.

    A stored split of another number of rows, or not of `micro_batch` if that is set, is ignored. Of
    several processes, the first one chooses for all.
    """
    if process_count() == 1:
        return _read_or_choose(folder, rows, choose, micro_batch)
    from accelerate.utils import broadcast_object_list

    chosen = [_read_or_choose(folder, rows, choose, micro_batch) if is_first() else None]
    split = broadcast_object_list(chosen)[0]
    assert split is not None
    return BatchSplit(*split)


def _read_or_choose(
    folder: Path, rows: int, choose: Callable[[], BatchSplit], micro_batch: int
) -> BatchSplit:
    file = folder / _FILE
    if file.is_file():
        stored = BatchSplit(**json.loads(file.read_text(encoding="utf-8")))
        is_as_set = micro_batch in (0, stored.micro_batch)
        if is_as_set and stored.micro_batch * stored.passes == rows:
            return stored
    split = choose()
    with atomic_path(file) as part:
        part.write_text(json.dumps(split._asdict()), encoding="utf-8")
    return split
