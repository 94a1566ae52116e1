"""The state of all random generators of this process, as safetensors and JSON."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file


class RandomState(NamedTuple):
    """The generators of torch, numpy and Python: tensors by name, and JSON values by name."""

    tensors: dict[str, torch.Tensor]
    values: dict[str, Any]


def capture_random_state() -> RandomState:
    """The current state of all generators."""
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    name, keys, *rest = np.random.get_state()
    tensors["numpy"] = torch.from_numpy(np.asarray(keys, dtype=np.int64))
    return RandomState(tensors, {"python": random.getstate(), "numpy": [name, *rest]})


def restore_random_state(state: RandomState) -> None:
    """Put all generators in this state."""
    torch.set_rng_state(state.tensors["cpu"])
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        torch.cuda.set_rng_state_all([state.tensors[f"cuda{i}"] for i in range(count)])
    name, *rest = state.values["numpy"]
    np.random.set_state((name, state.tensors["numpy"].numpy().astype(np.uint32), *rest))
    version, numbers, gauss = state.values["python"]
    random.setstate((version, tuple(numbers), gauss))


def save_random_state(state: RandomState, folder: Path, name: str) -> None:
    """Write the state of this process to a folder that all processes share."""
    tensor_file, json_file = _files(folder, name)
    save_file(state.tensors, tensor_file)
    json_file.write_text(json.dumps(state.values), encoding="utf-8")


def load_random_state(folder: Path, name: str) -> RandomState:
    """The state that this process wrote to the folder under this name."""
    tensor_file, json_file = _files(folder, name)
    values = json.loads(json_file.read_text(encoding="utf-8"))
    return RandomState(load_file(tensor_file), values)


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    stem = f"{name}-{os.environ.get('RANK', '0')}"
    return folder / f"{stem}.safetensors", folder / f"{stem}.json"
