"""Whether all weights are numbers: training on a NaN or an infinity ends in one."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from safetensors import safe_open

from convrec.artifacts import digest
from convrec.config import home
from convrec.errors import InputError
from convrec.models.files import adapter_weights, weight_files
from convrec.models.load import is_adapter, student_folder
from convrec.models.load_report import adapter_base


def check_finite(folder: Path) -> str:
    """Read the weights once, one tensor at a time. Raises InputError for NaN and infinity.

    A file that did not change since it was found in order is not read again.
    """
    if is_adapter(folder):
        check_finite(student_folder(adapter_base(folder)))
        files = [adapter_weights(folder)]
    else:
        files = weight_files(folder)
    marker = home() / "models" / "finite" / f"{_state(files)}.json"
    if not marker.is_file():
        for file in files:
            _check_file(file)
        with suppress(OSError):  # where nothing can be written, the files are read again
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.write_text(json.dumps([str(file) for file in files]), encoding="utf-8")
    return "all weights are finite"


def _state(files: list[Path]) -> str:
    """A digest of the files' paths, sizes and times."""
    stats = [(file.resolve(), file.stat()) for file in files]
    return digest([[str(path), stat.st_size, stat.st_mtime_ns] for path, stat in stats])[:20]


def _check_file(file: Path) -> None:
    with safe_open(file, framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - the file is no mapping
            tensor = tensors.get_tensor(name)
            if tensor.is_floating_point() and tensor.numel():
                low, high = tensor.aminmax()
                if not (low.float().isfinite() and high.float().isfinite()):
                    raise InputError(
                        f"the weight {name} in {file} has values that are NaN or infinite; "
                        "download the model again, or save it in bf16 instead of fp16"
                    )
