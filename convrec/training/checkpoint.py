"""Saving a run so that it goes on, bit by bit as if it had never stopped.

Weights, optimizer, schedule, random numbers and the trainer's counters go into `checkpoint-STEP`,
which is written under another name and renamed. Only safetensors and JSON: nothing that is loaded
can run code. transformers' own checkpoints would be pickles, come before their step is logged, and
lose the order of data in later epochs.

A run is saved where nothing is under way: reinforcement between two generations, with the data in
one long epoch (`convrec.stages.rank_grpo.train`), supervised training between two epochs, because
its order of data is drawn at the start of each. Of several processes the first saves, and each adds
its own random numbers; as many processes go on from it. What FSDP has cut over them is saved whole.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import trl
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback
from transformers.utils import SAFE_WEIGHTS_NAME

from convrec.models.hub import quiet
from convrec.training.fsdp import FullState, gather_full_state, is_fsdp, scatter_full_state
from convrec.utils.distributed import is_first, is_sharded, process_count, wait_for_all

_PREFIX, _SAVING = "checkpoint-", ".saving"
_RUN, _OPTIMIZER = "run.json", "optimizer.safetensors"
_VERSIONS = {"torch": torch.__version__, "transformers": transformers.__version__}
_VERSIONS["trl"] = trl.__version__


def _saved_by() -> dict[str, str]:
    """What has to be the same where a run goes on: the libraries, and how processes share it."""
    return {**_VERSIONS, "processes": str(process_count()), "cut": str(is_sharded()).lower()}


def latest(folder: Path) -> Path | None:
    """The newest checkpoint in a folder, if these libraries saved it, in as many processes."""
    found = max(folder.glob(f"{_PREFIX}*"), key=step_of, default=None)
    if found is None or _run(found)["versions"] != _saved_by():
        return None
    return found


def step_of(checkpoint: Path | None) -> int:
    """The step after which a checkpoint was saved; 0 where there is none."""
    return int(checkpoint.name.removeprefix(_PREFIX)) if checkpoint else 0


class Checkpoints(TrainerCallback):
    """Saves a run in `folder`, and puts it back after `trainer.train(resume_from_checkpoint=...)`.

    `every` > 0: at the first multiple of `whole` (the steps of one generation) that is `every` or
    more steps after the last save, once the step is logged. `every` = 0 saves nothing by step;
    `epochs` saves before every epoch but the first.
    """

    def __init__(
        self, folder: Path, *, every: int = 0, whole: int = 1, epochs: bool = False
    ) -> None:
        self.folder = folder
        self.every = every
        self.whole = whole
        self.epochs = epochs
        self.resumed = latest(folder)
        self.saved = step_of(self.resumed)

    def on_train_begin(self, args: Any, state: Any, control: Any, **at: Any) -> None:
        """Put optimizer and schedule back; transformers has loaded counters, and whole weights."""
        if self.resumed is not None:
            _load_optimizer(self.resumed, at["model"], at["optimizer"])
            at["lr_scheduler"].load_state_dict(_run(self.resumed)["schedule"])

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **at: Any) -> None:
        """Before the order of an epoch is drawn: save, or put the random numbers back."""
        if self.epochs and self.resumed is not None:
            self._load_random()
        elif self.epochs and state.global_step > 0:
            self._save(state, at)

    def on_step_begin(self, args: Any, state: Any, control: Any, **at: Any) -> None:
        """Put the random numbers back, after the data were skipped to where they were."""
        if self.resumed is not None:
            self._load_random()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **at: Any) -> None:
        """Have the loss since the last log logged: its running sum is not saved."""
        control.should_log = control.should_log or self.epochs

    def on_log(self, args: Any, state: Any, control: Any, **at: Any) -> None:
        """Save by step; the last step is not saved, for its weights are about to be."""
        step = state.global_step
        due = self.every and step - self.saved >= self.every and step % self.whole == 0
        if due and step < state.max_steps and not control.should_training_stop:
            self._save(state, at)

    def _load_random(self) -> None:
        assert self.resumed is not None
        _load_random(self.resumed)
        self.resumed = None

    def _save(self, state: Any, at: dict[str, Any]) -> None:
        part = self.folder / _SAVING
        if is_first():
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
        wait_for_all()
        _save_random(part)
        wait_for_all()
        cut = is_fsdp(at["model"])
        whole = gather_full_state(at["model"], at["optimizer"]) if cut else None
        if is_first():
            self._write(part, state, at, whole)
        self.saved = state.global_step

    def _write(self, part: Path, state: Any, at: dict[str, Any], whole: FullState | None) -> None:
        weights = whole.weights if whole else None
        with quiet():
            at["model"].save_pretrained(part, state_dict=weights, max_shard_size="1TB")
        dataclasses.replace(state, log_history=[]).save_to_json(str(part / "trainer_state.json"))
        tensors, groups = (whole.tensors, whole.groups) if whole else _optimizer(at["optimizer"])
        save_file(tensors, part / _OPTIMIZER)
        schedule = at["lr_scheduler"].state_dict()
        run = {"versions": _saved_by(), "groups": groups, "schedule": schedule}
        (part / _RUN).write_text(json.dumps(run), encoding="utf-8")
        for path in part.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        older = list(self.folder.glob(f"{_PREFIX}*"))
        os.replace(part, self.folder / f"{_PREFIX}{state.global_step}")
        for path in older:
            shutil.rmtree(path, ignore_errors=True)


def _run(checkpoint: Path) -> dict[str, Any]:
    run: dict[str, Any] = json.loads((checkpoint / _RUN).read_text(encoding="utf-8"))
    return run


def _optimizer(optimizer: Any) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """The optimizer's tensors by "parameter.name", and its groups."""
    state = optimizer.state_dict()
    tensors = {
        f"{parameter}.{name}": value.contiguous()
        for parameter, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def _load_optimizer(checkpoint: Path, model: Any, optimizer: Any) -> None:
    """Put the optimizer back, and the weights with it where they are cut."""
    groups = _run(checkpoint)["groups"]
    if is_fsdp(model):
        scatter_full_state(
            model, optimizer, _whole(checkpoint, groups) if is_first() else FullState({}, {}, [])
        )
        return
    values: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in load_file(checkpoint / _OPTIMIZER).items():
        parameter, _, part = name.partition(".")
        values.setdefault(int(parameter), {})[part] = tensor
    optimizer.load_state_dict({"state": values, "param_groups": groups})


def _whole(checkpoint: Path, groups: list[dict[str, Any]]) -> FullState:
    return FullState(
        load_file(checkpoint / SAFE_WEIGHTS_NAME), load_file(checkpoint / _OPTIMIZER), groups
    )


def _random_files(checkpoint: Path) -> tuple[Path, Path]:
    """Where this process keeps the state of its generators: tensors, and what fits into JSON."""
    name = f"random-{os.environ.get('RANK', '0')}"
    return checkpoint / f"{name}.safetensors", checkpoint / f"{name}.json"


def _save_random(checkpoint: Path) -> None:
    """Write the state of every generator that training draws from."""
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    name, keys, *rest = np.random.get_state()
    tensors["numpy"] = torch.from_numpy(np.asarray(keys, dtype=np.int64))
    numbers, text = _random_files(checkpoint)
    save_file(tensors, numbers)
    state = {"python": random.getstate(), "numpy": [name, *rest]}
    text.write_text(json.dumps(state), encoding="utf-8")


def _load_random(checkpoint: Path) -> None:
    numbers, said = _random_files(checkpoint)
    tensors, text = load_file(numbers), json.loads(said.read_text(encoding="utf-8"))
    torch.set_rng_state(tensors["cpu"])
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        torch.cuda.set_rng_state_all([tensors[f"cuda{i}"] for i in range(count)])
    name, *rest = text["numpy"]
    np.random.set_state((name, tensors["numpy"].numpy().astype(np.uint32), *rest))
    version, numbers, gauss = text["python"]
    random.setstate((version, tuple(numbers), gauss))
