"""GPUs by name and count, such as `8xH100`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from convrec.errors import InputError

_GPU_TABLE = Path(__file__).parent / "gpus.toml"


@dataclass(frozen=True)
class Machine:
    """`count` equal GPUs; bytes, bf16 FLOP/s and bytes/s are those of one GPU."""

    name: str
    count: int
    memory: float
    flops: float
    bandwidth: float


def parse_machine(text: str) -> Machine:
    """The machine that `8xH100`, or `H100` for one GPU, describes. Raises InputError."""
    gpus = tomllib.loads(_GPU_TABLE.read_text(encoding="utf-8"))
    match = re.fullmatch(r"(?:([1-9]\d{0,3})\s*[x×])?\s*(\S+)", text.strip(), re.IGNORECASE)
    for name, gpu in gpus.items():
        if match and match[2].upper() == name.upper():
            return Machine(
                name=name,
                count=int(match[1] or 1),
                memory=gpu["memory"] * 1e9,
                flops=gpu["tflops"] * 1e12,
                bandwidth=gpu["bandwidth"] * 1e9,
            )
    raise InputError(
        f"--gpus {text!r} is unknown; give a count and one of {', '.join(gpus)}, such as 8xH100"
    )
