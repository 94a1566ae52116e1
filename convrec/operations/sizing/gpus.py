"""GPUs by name and count, such as `8xH100`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from convrec.errors import InputError

_GPU_TABLE = Path(__file__).parent / "gpus.toml"


@dataclass(frozen=True)
class Machine:
    """`count` equal GPUs; bytes, bf16 FLOP/s and bytes/s are those of one GPU.

    `link` is the bandwidth to the other GPUs in one direction.
    """

    name: str
    count: int
    memory: float
    flops: float
    bandwidth: float
    link: float


def parse_machine(text: str) -> Machine:
    """The machine that `8xH100`, or `H100` for one GPU, describes. Raises InputError.

    Upper and lower case, and the memory behind the name (`A100-80GB`, `H100-80GB`), do not matter.
    """
    gpus = tomllib.loads(_GPU_TABLE.read_text(encoding="utf-8"))
    match = re.fullmatch(r"(?:([1-9]\d{0,3})\s*[x×])?\s*(\S+)", text.strip(), re.IGNORECASE)
    for name, gpu in gpus.items():
        if match and match[2].upper() in _spellings(name, gpu):
            return Machine(
                name=name,
                count=int(match[1] or 1),
                memory=gpu["memory"] * 1e9,
                flops=gpu["tflops"] * 1e12,
                bandwidth=gpu["bandwidth"] * 1e9,
                link=gpu["link"] * 1e9 / 2,
            )
    raise InputError(
        f"--gpus {text!r} is unknown; give a count and one of {', '.join(gpus)}, such as 8xH100"
    )


def _spellings(name: str, gpu: Mapping[str, int]) -> set[str]:
    """The names of a GPU in upper case, with and without its memory."""
    short = name.upper()
    memory = f"-{gpu['memory']}"
    full = short if short.endswith(memory) else short + memory
    return {short, full, f"{full}GB"}
