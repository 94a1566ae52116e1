"""Save a training run such that a resumed run equals an undisturbed one bit for bit.

All files are safetensors and JSON, so loading runs no code. transformers' own checkpoints are not
used: they are pickles, are written before their step is logged, and lose the order of the data in
later epochs.

Reinforcement learning saves between two generations, SFT before a step (`epoch_checkpoint`). Of
several processes, the first one saves and each adds its own random state; a run resumes with the
same number of processes.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers.trainer_utils
import trl
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback
from transformers.utils import SAFE_WEIGHTS_NAME

from convrec.errors import TrainingError
from convrec.models.hardware import is_out_of_memory
from convrec.models.progress_bars import hide_progress_bars
from convrec.training.fsdp import (
    FullState,
    flatten_state,
    gather_full_state,
    is_fsdp,
    scatter_full_state,
    unflatten_state,
)
from convrec.training.random_state import (
    RandomState,
    capture_random_state,
    load_random_state,
    restore_random_state,
    save_random_state,
)
from convrec.utils.distributed import barrier, is_first, is_sharded, process_count

_PREFIX, _TEMPORARY = "checkpoint-", ".saving"
_RUN, _OPTIMIZER = "run.json", "optimizer.safetensors"
_OTHER_ARGUMENTS = "arguments do not match the ones in the `trainer_state.json`"
STEP_STATE = "random"
"""Name of the random state that a checkpoint's next step starts with."""


def _environment() -> dict[str, str]:
    """What must be the same when a run resumes: libraries, number of processes, sharding."""
    libraries = (torch, transformers, trl)
    return {
        **{library.__name__: str(library.__version__) for library in libraries},
        "processes": str(process_count()),
        "cut": str(is_sharded()).lower(),
    }


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint in a folder; None if it was saved in another environment."""
    latest = max(folder.glob(f"{_PREFIX}*"), key=step_of, default=None)
    if latest is None or _read_run(latest)["versions"] != _environment():
        return None
    return latest


def step_of(checkpoint: Path | None) -> int:
    """The step after which a checkpoint was saved; 0 without one."""
    return int(checkpoint.name.removeprefix(_PREFIX)) if checkpoint else 0


class CheckpointCallback(TrainerCallback):
    """Saves a run to `folder`, and restores the latest checkpoint there (`run_trainer`).

    Saves at multiples of `boundary` steps (those of one generation) once `every` steps have passed
    since the last save; never if `every` is 0.
    """

    def __init__(self, folder: Path, *, every: int = 0, boundary: int = 1) -> None:
        self.folder = folder
        self.every = every
        self.boundary = boundary
        self.resumed = latest_checkpoint(folder)
        self.saved_step = step_of(self.resumed)

    def on_train_begin(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Restore optimizer and schedule; transformers has restored counters and full weights."""
        if self.resumed is not None:
            _load_optimizer(self.resumed, context["model"], context["optimizer"])
            context["lr_scheduler"].load_state_dict(_read_run(self.resumed)["schedule"])

    def on_step_begin(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Restore the random state once the trainer has skipped the data of earlier steps."""
        if self.resumed is not None:
            restore_random_state(load_random_state(self.resumed, STEP_STATE))
            self.resumed = None

    def on_log(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Save if due, except after the last step, whose weights are saved by the caller."""
        step = state.global_step
        is_due = self.every and step - self.saved_step >= self.every and step % self.boundary == 0
        if is_due and step < state.max_steps and not control.should_training_stop:
            self.save(state, context, {STEP_STATE: capture_random_state()})

    def save(self, state: Any, context: dict[str, Any], random: dict[str, RandomState]) -> None:
        """Save, with random states by name, in all processes: the first writes, all contribute."""
        part = self.folder / _TEMPORARY
        if is_first():
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
        barrier()
        for name, random_state in random.items():
            save_random_state(random_state, part, name)
        barrier()
        model, optimizer = context["model"], context["optimizer"]
        full = gather_full_state(model, optimizer) if is_fsdp(model) else None
        if is_first():
            if full is None:
                values = optimizer.state_dict()
                full = FullState(None, flatten_state(values["state"]), values["param_groups"])
            self._write(part, state, context, full)
        self.saved_step = state.global_step

    def _write(self, part: Path, state: Any, context: dict[str, Any], full: FullState) -> None:
        """Complete the folder `part`, rename it, and delete older checkpoints."""
        with hide_progress_bars():
            context["model"].save_pretrained(part, state_dict=full.weights, max_shard_size="1TB")
        dataclasses.replace(state, log_history=[]).save_to_json(str(part / "trainer_state.json"))
        save_file(_unshared(full.tensors), part / _OPTIMIZER)
        run = {
            "versions": _environment(),
            "groups": full.groups,
            "numbers": {k: v for k, v in full.tensors.items() if not torch.is_tensor(v)},
            "schedule": context["lr_scheduler"].state_dict(),
        }
        (part / _RUN).write_text(json.dumps(run), encoding="utf-8")
        for path in part.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        older = list(self.folder.glob(f"{_PREFIX}*"))
        os.replace(part, self.folder / f"{_PREFIX}{state.global_step}")
        for path in older:
            shutil.rmtree(path, ignore_errors=True)


def run_trainer(trainer: Any, checkpoints: CheckpointCallback, memory_advice: str) -> None:
    """Train, from the latest checkpoint if there is one.

    Raises TrainingError, which ends in `memory_advice`, if memory runs out.
    """
    resumed = checkpoints.resumed
    if is_sharded():  # the checkpoint callback restores shards
        trainer._load_from_checkpoint = lambda *args, **kwargs: None
    try:
        with _hide_expected_warnings():
            trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(f"training ran out of memory with {memory_advice}") from error


@contextmanager
def _hide_expected_warnings() -> Iterator[None]:
    """Hide what transformers says about `schedule=drop`, and of a resume with another micro-batch.

    The drop schedule needs the one argument and cannot do without the other. The split of a step
    changes no gradient.
    """

    def is_news(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        is_split = text.count("\n\t") == 1 and "\n\tper_device_train_batch_size" in text
        return not (is_split and _OTHER_ARGUMENTS in text)

    logger = logging.getLogger(transformers.trainer_utils.__name__)
    logger.addFilter(is_news)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Both num_training_steps and num_stable_ste")
            yield
    finally:
        logger.removeFilter(is_news)


def _read_run(checkpoint: Path) -> dict[str, Any]:
    run: dict[str, Any] = json.loads((checkpoint / _RUN).read_text(encoding="utf-8"))
    return run


def _load_optimizer(checkpoint: Path, model: Any, optimizer: Any) -> None:
    """Restore the optimizer; under FSDP, the weights too."""
    if is_fsdp(model) and not is_first():
        scatter_full_state(model, optimizer, FullState({}, {}, []))
        return
    run = _read_run(checkpoint)
    groups, tensors = run["groups"], {**load_file(checkpoint / _OPTIMIZER), **run["numbers"]}
    if is_fsdp(model):
        weights = load_file(checkpoint / SAFE_WEIGHTS_NAME)
        scatter_full_state(model, optimizer, FullState(weights, tensors, groups))
        return
    state = {int(parameter): values for parameter, values in unflatten_state(tensors).items()}
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _unshared(values: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors among some values, copied if they share memory, as in 8-bit optimizers."""
    seen: set[int] = set()
    tensors = {}
    for name, value in values.items():
        if torch.is_tensor(value):
            tensors[name] = value.clone() if value.data_ptr() in seen else value
            seen.add(value.data_ptr())
    return tensors
