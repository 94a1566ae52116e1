"""The files of a model folder: its config.json, and the names in its safetensors headers.

No weight is loaded and neither torch nor transformers is imported, so that an artifact id may
depend on what a folder holds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from convrec.errors import InputError
from convrec.utils.error_text import first_line
from convrec.utils.file_content import lfs_problem

CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_ADAPTER_WEIGHTS = "adapter_model.safetensors"
_FLOATS = ("F64", "F32", "F16", "BF16")
"""Types of weights that are trained; `F8_E4M3` and the like are quantized."""

_QUANTIZED_NAMES = (".qweight", ".weight_packed", ".weight_scale", ".weight_scale_inv", ".absmax")


def model_config(folder: Path) -> dict[str, Any]:
    """The config.json of a folder. Raises InputError if it is no model that can be trained."""
    if not (folder / CONFIG).is_file():
        inside = sorted((*folder.glob("*/config.json"), *folder.glob("snapshots/*/config.json")))
        advice = f"; {inside[-1].parent} holds one" if inside else ""
        raise InputError(
            f"{folder} holds no model: neither {CONFIG} nor {ADAPTER_CONFIG} is in it{advice}"
        )
    config = read_json_object(folder / CONFIG)
    quantization = config.get("quantization_config") or config.get("quantization")
    if quantization:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else None
        raise InputError(_quantized(folder, f"quantization_config says {method or 'so'}"))
    return config


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers reads. Raises InputError if they are not all there.

    Other weight files can run code when they are loaded, and are refused.
    """
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    if (folder / _INDEX).is_file():
        return _shards(folder)
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    if found:
        raise InputError(
            f"{folder} holds {found[0]}, but neither {_SINGLE} nor {_INDEX}, so its weights cannot "
            "be read; download the missing file, or save the model again with save_pretrained"
        )
    raise InputError(
        f"{folder} holds no *.safetensors; other weight files can run code when they are "
        "loaded and are refused: save the model again with save_pretrained of a current "
        "transformers"
    )


def adapter_weights(folder: Path) -> Path:
    """The weights of an adapter folder. Raises InputError if they are not safetensors."""
    path = folder / _ADAPTER_WEIGHTS
    if not path.is_file():
        raise InputError(
            f"{folder} holds an adapter without {_ADAPTER_WEIGHTS}; save the adapter again with "
            "save_pretrained of a current peft, or merge it into its base"
        )
    return path


def tensor_names(files: list[Path]) -> set[str]:
    """The names of all weights. Raises InputError for a file that is damaged or quantized."""
    names: set[str] = set()
    for path in files:
        if problem := lfs_problem(path):
            raise InputError(problem)
        try:
            with safe_open(path, framework="numpy") as file:
                dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            size = path.stat().st_size
            reason = f"cut off or damaged at {size:,} bytes" if size else "empty"
            raise InputError(
                f"{path} cannot be read, because it is {reason} ({first_line(error)}); download "
                "it again"
            ) from None
        for name, dtype in dtypes.items():
            is_weight = str(dtype).startswith("F") or name.endswith(".weight")
            if (is_weight and dtype not in _FLOATS) or name.endswith(_QUANTIZED_NAMES):
                raise InputError(_quantized(path.parent, f"{name} is of type {dtype}"))
        names |= dtypes.keys()
    return names


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Raises InputError if it holds anything else."""
    if problem := lfs_problem(path):
        raise InputError(problem)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not valid JSON ({first_line(error)}); download it again"
        ) from None
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no JSON object; download it again")
    return value


def read_json_if_any(path: Path) -> dict[str, Any]:
    """As `read_json_object`, but empty if there is no such file."""
    return read_json_object(path) if path.is_file() else {}


def _shards(folder: Path) -> list[Path]:
    """The files that the index names."""
    weight_map = read_json_object(folder / _INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{folder / _INDEX} has no `weight_map`; download it again")
    names = sorted({str(name) for name in weight_map.values()})
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise InputError(
            f"{folder} lacks {len(missing)} of the {len(names)} files of its weights, such as "
            f"{missing[0]}; download the model again"
        )
    return [folder / name for name in names]


def _quantized(folder: Path, reason: str) -> str:
    return (
        f"the model in {folder} is quantized ({reason}) and cannot be trained here; use its "
        "original in bf16, fp16 or fp32"
    )
