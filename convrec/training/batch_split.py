"""How one process splits its rows of a step into forward and backward passes.

The gradient of a step is that of all its rows; the split decides memory and speed. Floating-point
sums depend on it, so what was chosen is written to the working folder, and a resumed run continues
with the same split.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from convrec.config import Config
from convrec.errors import ConfigError
from convrec.training.memory.micro_batch import (
    TrainingStage,
    choose_micro_batch,
    divisors,
    fixed_recompute,
)
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
    passes: int = 1
    recompute: bool = False


def split_step(
    model: Any,
    config: Config,
    stage: TrainingStage,
    rows: int,
    folder: Path,
    *,
    prompt: int = 0,
    completion: int = 0,
    bf16: bool = False,
) -> BatchSplit:
    """The split of the `rows` that this process has in a step, as settings and memory allow.

    The other arguments are those of `choose_micro_batch`. A run that resumes from the working
    folder `folder` gets the split that it began with, unless a setting now asks for another one.
    Of several processes, the first one chooses for all. Raises ConfigError for a `micro_batch`
    that does not divide the rows.
    """
    configured_split(config, stage, rows)
    if not is_first():
        return _broadcast(None)
    split = _stored_split(config, stage, rows, folder)
    if split is None:
        chosen = choose_micro_batch(
            model, config, stage, rows, prompt=prompt, completion=completion, bf16=bf16
        )
        split = BatchSplit(chosen.rows, rows // chosen.rows, chosen.recompute)
        with atomic_path(folder / _FILE) as part:
            part.write_text(json.dumps(split._asdict()), encoding="utf-8")
    return split if process_count() == 1 else _broadcast(split)


def configured_split(config: Config, stage: TrainingStage, rows: int) -> BatchSplit:
    """The split that the settings ask for: in one piece unless they say otherwise.

    Raises ConfigError if the configured micro-batch does not divide the rows of a process.
    """
    size, name = getattr(config, stage).micro_batch or rows, f"{stage}.micro_batch"
    if size > rows:
        raise ConfigError(
            f"{name}={size} is larger than a step, which has {rows} rows in each process; set it "
            f"to {rows} or less, or to 0"
        )
    if rows % size:
        nearest = next(divisor for divisor in divisors(rows) if divisor < size)
        raise ConfigError(
            f"{name}={size} does not divide the {rows} rows that each process has in a step; try "
            f"--set {name}={nearest}"
        )
    return BatchSplit(size, rows // size, bool(fixed_recompute(config)))


def _stored_split(
    config: Config, stage: TrainingStage, rows: int, folder: Path
) -> BatchSplit | None:
    """The split in a working folder if it fits the rows and the settings."""
    file = folder / _FILE
    if not file.is_file():
        return None
    split = BatchSplit(**json.loads(file.read_text(encoding="utf-8")))
    agrees = getattr(config, stage).micro_batch in (0, split.micro_batch)
    agrees = agrees and fixed_recompute(config) in (None, split.recompute)
    return split if agrees and split.micro_batch * split.passes == rows else None


def _broadcast(split: BatchSplit | None) -> BatchSplit:
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=not torch.cuda.is_available())  # connects the processes, if nothing has yet
    sent = [split]
    broadcast_object_list(sent)
    assert sent[0] is not None
    return BatchSplit(*sent[0])
